"""Sentiment of one review: what `sentiment.Judge` learned, as a network that Triton serves."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from freshet.representation.sentiment import LENGTH_POWER, Judge


class SentimentModel(nn.Module):
    """Logistic regression over hashed words and a lexicon."""

    words: Tensor
    lexicon: Tensor
    intercept: Tensor

    def __init__(self, judge: Judge) -> None:
        super().__init__()
        self.register_buffer("words", torch.from_numpy(judge.words).float())
        self.register_buffer("lexicon", torch.from_numpy(judge.lexicon).float())
        self.register_buffer("intercept", torch.tensor(judge.intercept).float())

    def forward(self, tokens: Tensor, lexicon: Tensor) -> Tensor:
        """tokens int32 (B, OPINION_LENGTH), lexicon float32 (B, OPINION_FEATURES) → float32 (B, 1), 0 to 1."""
        sums = self.words[tokens.long()].sum(dim=1)
        said = sums[:, 0] / sums[:, 1].clamp(min=1.0) ** (LENGTH_POWER / 2.0)
        return torch.sigmoid(said + lexicon @ self.lexicon + self.intercept)[:, None]
