"""Price: where it lies in its category and in the catalogue."""

from __future__ import annotations

from torch import Tensor, nn

from freshet.representation.preprocessing import PRICE_FEATURES
from freshet.representation.tensors import unit


class PriceEncoder(nn.Module):
    """A linear map of the price's bumps: near prices have near vectors from the start."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.head = nn.Linear(PRICE_FEATURES, size, bias=False)
        nn.init.orthogonal_(self.head.weight)

    def forward(self, price: Tensor) -> Tensor:
        """price float32 (B, PRICE_FEATURES) → float32 (B, size), unit length."""
        return unit(self.head(price))
