"""Reviews and ratings of a product."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from freshet.representation.preprocessing import RATING_FEATURES
from freshet.representation.tensors import unit


class ReviewsEncoder(nn.Module):
    """Stars and words of a product's reviews."""

    def __init__(self, size: int, text_size: int) -> None:
        super().__init__()
        self.ratings = nn.Linear(RATING_FEATURES, 32)
        self.words = nn.Linear(text_size, 32, bias=False)
        self.head = nn.Linear(32, size)

    def forward(self, ratings: Tensor, text: Tensor) -> Tensor:
        """ratings float32 (B, RATING_FEATURES), text float32 (B, text_size) → float32 (B, size), unit length."""
        return unit(self.head(torch.tanh(self.ratings(ratings) + self.words(text))))
