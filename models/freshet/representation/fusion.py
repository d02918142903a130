"""From the encoded modalities of a product to one vector, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from freshet.representation.options import Sizes
from freshet.representation.tensors import TINY, unit


class GatedFusion(nn.Module):
    """Gated fusion: each present modality is projected, gated by all of them, summed, and refined by an MLP."""

    def __init__(self, sizes: Sizes, hidden: int = 128) -> None:
        super().__init__()
        self.projections = nn.ModuleList([nn.Linear(size, hidden) for size in sizes.fused])
        self.gates = nn.Linear(sum(sizes.fused) + len(sizes.fused), len(sizes.fused))
        self.refine = nn.Sequential(
            nn.LayerNorm(hidden), nn.Linear(hidden, 2 * hidden), nn.GELU(), nn.Linear(2 * hidden, hidden)
        )
        self.head = nn.Linear(hidden, sizes.joint)

    def forward(self, text: Tensor, image: Tensor, price: Tensor, reviews: Tensor, present: Tensor) -> Tensor:
        """→ float32 (B, joint), unit length. Modalities are (B, size each), a text without its terms.

        `present` is float32 (B, 4) of 0 and 1.
        A product without any modality has a zero vector.
        """
        parts = [part * present[:, i : i + 1] for i, part in enumerate((text, image, price, reviews))]
        gates = torch.sigmoid(self.gates(torch.cat([*parts, present], dim=1))) * present
        gates = gates / gates.sum(dim=1, keepdim=True).clamp_min(TINY)
        mixed = torch.zeros_like(self.projections[0](parts[0]))
        for i, (projection, part) in enumerate(zip(self.projections, parts, strict=True)):
            mixed = mixed + gates[:, i : i + 1] * projection(part)
        joint = unit(self.head(mixed + self.refine(mixed)))
        return joint * present.amax(dim=1, keepdim=True)


FUSIONS: Mapping[str, Callable[[Sizes], nn.Module]] = {"gated": GatedFusion}
"""By name. Each is called with (text, image, price, reviews, present) and gives float32 (B, joint), unit or zero."""


class WholeVector(nn.Module):
    """What Triton serves as `fusion`: the encoded modalities and their deep fusion, as one vector of segments."""

    def __init__(self, fusion: nn.Module, text_size: int) -> None:
        super().__init__()
        self.fusion, self.text_size = fusion, text_size

    def forward(self, text: Tensor, image: Tensor, price: Tensor, reviews: Tensor, present: Tensor) -> Tensor:
        """→ float32 (B, dimension): text | image | price | reviews | joint | terms. All but text are unit or zero."""
        learned, terms = text[:, : self.text_size] * present[:, :1], text[:, self.text_size :] * present[:, :1]
        parts = [unit(part) * present[:, i : i + 1] for i, part in enumerate((learned, image, price, reviews))]
        return torch.cat([learned, *parts[1:], self.fusion(*parts, present), unit(terms)], dim=1)
