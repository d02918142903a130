"""The networks that steps change, as one module: which of their layers learn when, and one step over pairs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from freshet.errors import ConfigurationError
from freshet.representation.encoders.image import check_image, image_encoder
from freshet.representation.encoders.price import PriceEncoder
from freshet.representation.encoders.reviews import ReviewsEncoder
from freshet.representation.fusion import FUSIONS
from freshet.representation.inputs import Inputs
from freshet.representation.losses import LOSSES, Step
from freshet.representation.options import TrainingOptions
from freshet.representation.tensors import unit

T = TypeVar("T")
SAME_WORDS = 0.99
"""Cosine of two texts from which on they say the same."""


def check_names(options: TrainingOptions) -> None:
    """Raises ConfigurationError where the options name what no registry has."""
    check_image(options.image)
    _named(FUSIONS, "fusion", options.fusion)
    for name in options.losses:
        _named(LOSSES, "losses", name)


class Networks(nn.Module):
    """Encoders, fusion, and the heads that losses ask."""

    def __init__(self, options: TrainingOptions) -> None:
        super().__init__()
        sizes = options.sizes
        self.dropout = options.modality_dropout
        self.image = image_encoder(options.image, sizes.image)
        self.price = PriceEncoder(sizes.price)
        self.reviews = ReviewsEncoder(sizes.reviews, sizes.text)
        self.fusion = _named(FUSIONS, "fusion", options.fusion)(sizes)
        self.caption = nn.Linear(sizes.text, sizes.image, bias=False)
        self.stars = nn.Linear(sizes.joint, 1)
        self.dearness = nn.Linear(sizes.joint, 1)
        nn.init.constant_(self.stars.bias, 4.0)

    def release(self, options: TrainingOptions, epoch: int) -> None:
        """Let learn what may in this epoch: of a frozen part the last layers that `unfreeze` released so far.

        A frozen layer keeps its statistics too.
        """
        self.train()
        for name in options.freeze:
            depths = [depth for begun, depth in options.unfreeze.get(name, {}).items() if begun <= epoch]
            layers = _layers(getattr(self, name))
            learning = set(layers[len(layers) - min(max(depths, default=0), len(layers)) :])
            for layer in layers:
                layer.train(layer in learning)
                for parameter in layer.parameters(recurse=False):
                    parameter.requires_grad_(layer in learning)
            if not learning:
                for parameter in getattr(self, name).parameters():
                    parameter.requires_grad_(False)

    def step(self, inputs: Inputs, texts: Tensor, batch: Tensor, log_chance: Tensor, pictures: Tensor | None) -> Step:
        """`batch` int64 (B, 2) are pairs of products; `texts` float32 (products, text) of unit length.

        `log_chance` (products,): how often each is a pair's second. `pictures` (products, image) are those of an
        encoder that does not learn; None has them encoded.
        """
        rows = batch.T.reshape(-1)
        seen = self.image(inputs.pixels[rows]) if pictures is None else pictures[rows]
        present = inputs.present[rows]
        # Any subset of modalities must give a usable vector; at least one stays. Drawn on the CPU: the same anywhere.
        kept = (torch.rand(present.shape).to(present.device) > self.dropout).float() * present
        kept = torch.where(kept.any(dim=1, keepdim=True), kept, present)
        joint = self.fusion(
            texts[rows],
            seen,
            self.price(inputs.price[rows]),
            self.reviews(inputs.ratings[rows], inputs.review_text[rows]),
            kept,
        ).float()
        first, second = batch.T
        off_diagonal = ~torch.eye(len(batch), dtype=torch.bool, device=batch.device)
        same = ((first[:, None] == first[None]) | (second[:, None] == second[None])) & off_diagonal
        same |= (_alike(texts[first]) | _alike(texts[second])) & off_diagonal
        hidden = torch.full_like(inputs.stars[rows], torch.nan)
        return Step(
            joint=joint,
            pictures=seen.float(),
            captions=unit(self.caption(texts[rows]).float()),
            seen=present[:, 1].bool(),
            same=same,
            log_chance=log_chance[second],
            stars=torch.where(kept[:, 3] == 0.0, inputs.stars[rows], hidden),
            stars_told=self.stars(joint)[:, 0].float(),
            dearness=torch.where(kept[:, 2] == 0.0, inputs.dearness[rows], hidden),
            dearness_told=self.dearness(joint)[:, 0].float(),
        )

    def encoded_pictures(self, pixels: Tensor) -> Tensor:
        """What an image encoder that does not learn gives of all products, (products, image): as they are served."""
        self.image.eval()
        with torch.no_grad():
            return torch.cat([self.image(rows) for rows in torch.split(pixels, 256)])

    def image_learns(self) -> bool:
        return any(parameter.requires_grad for parameter in self.image.parameters())

    def state(self) -> dict[str, NDArray[np.generic]]:
        """Parameters and statistics by name, on the CPU."""
        return {name: tensor.detach().cpu().numpy() for name, tensor in self.state_dict().items()}

    def begin_from(self, state: Mapping[str, NDArray[np.generic]]) -> list[str]:
        """Take over every part whose layers have the same names and shapes; the others begin anew.

        Gives a line for each that does, saying why. Raises ConfigurationError when no part fits.
        """
        new: list[str] = []
        parts = list(dict(self.named_children()))
        for part in parts:
            mine = {name: tensor for name, tensor in self.state_dict().items() if name.startswith(f"{part}.")}
            theirs = {name: torch.from_numpy(array) for name, array in state.items() if name.startswith(f"{part}.")}
            differing = [
                f"{name} is {_shape(theirs.get(name))} there and {_shape(mine.get(name))} here"
                for name in sorted(mine.keys() | theirs.keys())
                if _shape(mine.get(name)) != _shape(theirs.get(name))
            ]
            if differing:
                new.append(f"{part} begins anew: {differing[0]}")
            else:
                self.load_state_dict(theirs, strict=False)
        if len(new) == len(parts):
            raise ConfigurationError(f"no part of that model fits these sizes, encoders and fusion: {new[0]}")
        return new


def _alike(texts: Tensor) -> Tensor:
    """bool (B, B): of two products with the same words neither is a negative for the other."""
    return texts @ texts.T > SAME_WORDS


def _shape(tensor: Tensor | None) -> str:
    return "absent" if tensor is None else " × ".join(map(str, tensor.shape)) or "a number"


def _layers(part: nn.Module) -> list[nn.Module]:
    """Modules with parameters of their own, in the order in which they were made: those near the output last."""
    return [module for module in part.modules() if next(module.parameters(recurse=False), None) is not None]


def _named(known: Mapping[str, T], what: str, name: str) -> T:
    if name not in known:
        raise ConfigurationError(f"{what}: {name!r} is unknown; one of {', '.join(sorted(known))} is needed")
    return known[name]
