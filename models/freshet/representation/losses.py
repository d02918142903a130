"""What training minimises, by name. A run's loss is a weighted sum of them (`TrainingOptions.losses`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Step:
    """A step's pairs of products, as the losses see them: row i and row B + i are a pair. All rows are unit length.

    `joint` (2B, joint) fuses what modality dropout left; `pictures` (2B, image) are meaningless where `seen` (2B,) says
    no; `captions` (2B, image) are where the products' words say that their pictures lie. `same` bool (B, B): pairs off
    the diagonal that share a product with the row's, or its very words, and therefore are no negatives.
    """

    joint: Tensor
    pictures: Tensor
    captions: Tensor
    seen: Tensor
    same: Tensor

    @property
    def pairs(self) -> int:
        return len(self.joint) // 2


def chosen_together(step: Step) -> Tensor:
    """Products of one shopper have near joint vectors."""
    return info_nce(step.joint[: step.pairs], step.joint[step.pairs :], step.same)


def captions(step: Step) -> Tensor:
    """A picture lies near its own product's words."""
    halves = slice(None, step.pairs), slice(step.pairs, None)
    return torch.stack(
        [_where(step.seen[half], step.pictures[half], step.captions[half], step.same) for half in halves]
    ).mean()


def pictures_together(step: Step) -> Tensor:
    """Products of one shopper have near pictures."""
    both = step.seen[: step.pairs] & step.seen[step.pairs :]
    return _where(both, step.pictures[: step.pairs], step.pictures[step.pairs :], step.same)


LOSSES: Mapping[str, Callable[[Step], Tensor]] = {
    "chosen_together": chosen_together,
    "captions": captions,
    "pictures_together": pictures_together,
}
"""By name: from a step to a number; 0 where the step's products have nothing to judge it by."""


def _where(rows: Tensor, anchors: Tensor, positives: Tensor, same: Tensor) -> Tensor:
    if int(rows.sum()) < 2:
        return anchors.new_zeros(())
    return info_nce(anchors[rows], positives[rows], same[rows][:, rows])


def info_nce(anchors: Tensor, positives: Tensor, same: Tensor, temperature: float = 0.1) -> Tensor:
    """Contrastive loss over a batch, both ways (van den Oord et al., 2018).

    anchors, positives: (B, n) of unit length; `same` bool (B, B): pairs off the diagonal that are the same product
    and therefore no negatives.
    """
    logits = anchors @ positives.T / temperature
    logits = logits.masked_fill(same, -1e4)
    target = torch.arange(len(anchors), device=anchors.device)
    return 0.5 * (functional.cross_entropy(logits, target) + functional.cross_entropy(logits.T, target))
