"""What training minimises, by name. A run's loss is a weighted sum of them (`TrainingOptions.losses`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

TEMPERATURE = 0.1
MARGIN = 0.3
"""Cosine from which on two products that nobody paired count as too near."""


@dataclass(frozen=True)
class Step:
    """A step's pairs of products, as the losses see them: row i and row B + i are a pair. All rows are unit length.

    `joint` (2B, joint) fuses what modality dropout left; `pictures` (2B, image) are meaningless where `seen` (2B,) says
    no; `captions` (2B, image) are where the products' words say that their pictures lie. `same` bool (B, B): pairs off
    the diagonal that share a product with the row's, or its very words, and therefore are no negatives. `log_chance`
    (B,) is the logarithm of how often each second product is drawn. `stars` and `dearness` (2B,) are known values, NaN
    where there is none to learn from, beside `stars_told` and `dearness_told`, what `joint` says of them.
    """

    joint: Tensor
    pictures: Tensor
    captions: Tensor
    seen: Tensor
    same: Tensor
    log_chance: Tensor
    stars: Tensor
    stars_told: Tensor
    dearness: Tensor
    dearness_told: Tensor

    @property
    def pairs(self) -> int:
        return len(self.joint) // 2


def chosen_together(step: Step) -> Tensor:
    """InfoNCE: products of one shopper have near joint vectors."""
    return info_nce(step.joint[: step.pairs], step.joint[step.pairs :], step.same)


def captions(step: Step) -> Tensor:
    """InfoNCE across modalities: a picture lies near its own product's words."""
    halves = slice(None, step.pairs), slice(step.pairs, None)
    return torch.stack(
        [_where(step.seen[half], step.pictures[half], step.captions[half], step.same) for half in halves]
    ).mean()


def pictures_together(step: Step) -> Tensor:
    """InfoNCE: products of one shopper have near pictures."""
    both = step.seen[: step.pairs] & step.seen[step.pairs :]
    return _where(both, step.pictures[: step.pairs], step.pictures[step.pairs :], step.same)


def next_interaction(step: Step) -> Tensor:
    """Cross-entropy of a shopper's next product, given the one before: softmax over the step's products.

    It is corrected by the logarithm of how often each is drawn (Yi et al., RecSys 2019), or popular products would
    count as negatives too often.

    With this loss a run pairs each interaction with the shopper's next one.
    """
    logits = step.joint[: step.pairs] @ step.joint[step.pairs :].T / TEMPERATURE - step.log_chance
    logits = logits.masked_fill(step.same, -1e4)
    return functional.cross_entropy(logits, torch.arange(step.pairs, device=logits.device))


def cosine(step: Step) -> Tensor:
    """1 − cosine of pairs, and what the cosine of others exceeds `MARGIN` by."""
    cosines = step.joint[: step.pairs] @ step.joint[step.pairs :].T
    strangers = ~step.same & ~torch.eye(step.pairs, dtype=torch.bool, device=cosines.device)
    excess = functional.relu(cosines - MARGIN) * strangers
    return (1.0 - cosines.diagonal()).mean() + excess.sum() / strangers.sum().clamp_min(1)


def ratings(step: Step) -> Tensor:
    """Mean squared error of a product's mean rating, told from its other modalities: only where dropout hid reviews."""
    return _squared_error(step.stars_told, step.stars)


def prices(step: Step) -> Tensor:
    """Mean squared error of the log price in its category, told from the other modalities: where dropout hid prices."""
    return _squared_error(step.dearness_told, step.dearness)


LOSSES: Mapping[str, Callable[[Step], Tensor]] = {
    "chosen_together": chosen_together,
    "captions": captions,
    "pictures_together": pictures_together,
    "next_interaction": next_interaction,
    "cosine": cosine,
    "ratings": ratings,
    "prices": prices,
}
"""By name: from a step to a number; 0 where the step's products have nothing to judge it by."""


def _squared_error(told: Tensor, known: Tensor) -> Tensor:
    rows = ~known.isnan()
    if not bool(rows.any()):
        return told.new_zeros(())
    return functional.mse_loss(told[rows], known[rows])


def _where(rows: Tensor, anchors: Tensor, positives: Tensor, same: Tensor) -> Tensor:
    if int(rows.sum()) < 2:
        return anchors.new_zeros(())
    return info_nce(anchors[rows], positives[rows], same[rows][:, rows])


def info_nce(anchors: Tensor, positives: Tensor, same: Tensor, temperature: float = TEMPERATURE) -> Tensor:
    """Contrastive loss over a batch, both ways (van den Oord et al., 2018).

    anchors, positives: (B, n) of unit length; `same` bool (B, B): pairs off the diagonal that are the same product
    and therefore no negatives.
    """
    logits = anchors @ positives.T / temperature
    logits = logits.masked_fill(same, -1e4)
    target = torch.arange(len(anchors), device=anchors.device)
    return 0.5 * (functional.cross_entropy(logits, target) + functional.cross_entropy(logits.T, target))
