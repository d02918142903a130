"""From the encoded modalities of a product to one vector, by name; and the whole vector that Triton serves."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from freshet.representation.fusion.base import Fusion
from freshet.representation.fusion.deep import GatedFusion, PerceptronFusion
from freshet.representation.fusion.linear import ProductFusion, WeightedFusion
from freshet.representation.fusion.sequence import AttentionFusion, ConvolutionalFusion, RecurrentFusion
from freshet.representation.options import Sizes
from freshet.representation.tensors import unit

FUSIONS: Mapping[str, Callable[[Sizes], Fusion]] = {
    "weighted": WeightedFusion,
    "product": ProductFusion,
    "mlp": PerceptronFusion,
    "gated": GatedFusion,
    "attention": AttentionFusion,
    "cnn": ConvolutionalFusion,
    "recurrent": RecurrentFusion,
}
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
