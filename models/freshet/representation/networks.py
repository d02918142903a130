"""The encoders and the fusion, in torch. Shapes are in every forward; B is the batch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from freshet.representation.preprocessing import PRICE_FEATURES, RATING_FEATURES

TINY = 1e-6


@dataclass(frozen=True, slots=True)
class Sizes:
    """Dimensions of the segments, in the order in which a vector has them."""

    text: int = 256
    image: int = 64
    price: int = 16
    reviews: int = 16
    joint: int = 64
    terms: int = 256

    @property
    def encoded(self) -> tuple[int, int, int, int]:
        """What the encoders of text, image, price and reviews give: a text has its terms behind it."""
        return self.text + self.terms, self.image, self.price, self.reviews

    @property
    def fused(self) -> tuple[int, int, int, int]:
        """What the fusion takes of them."""
        return self.text, self.image, self.price, self.reviews


def unit(vectors: Tensor) -> Tensor:
    """L2-normalised rows (B, n); an all-zero row stays zero."""
    normalised: Tensor = vectors / vectors.norm(dim=1, keepdim=True).clamp_min(TINY)
    return normalised


class TextEncoder(nn.Module):
    """Sums of word vectors. The table is kept in float16: half the file, and no loss that can be measured."""

    table: Tensor

    def __init__(self, table: NDArray[np.float32], size: int) -> None:
        """`table`: (TEXT_BUCKETS + 1, size + terms) as `words.text_table` makes it; row 0 is padding and zero."""
        super().__init__()
        self.size = size
        self.register_buffer("table", torch.from_numpy(table).to(torch.float16))

    def forward(self, tokens: Tensor) -> Tensor:
        """tokens int32 (B, TEXT_LENGTH) → float32 (B, size + terms): learned, as long as it is; terms, unit length."""
        sums = self.table[tokens.long()].float().sum(dim=1)
        return torch.cat([sums[:, : self.size], unit(sums[:, self.size :])], dim=1)


class ImageEncoder(nn.Module):
    """A small convolutional network over 64 × 64 pixels, with the colour histogram it would otherwise have to learn."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 24, 5, stride=2, padding=2), nn.BatchNorm2d(24), nn.ReLU(),
            nn.Conv2d(24, 48, 3, stride=2, padding=1), nn.BatchNorm2d(48), nn.ReLU(),
            nn.Conv2d(48, 96, 3, stride=2, padding=1), nn.BatchNorm2d(96), nn.ReLU(),
            nn.Conv2d(96, 128, 3, stride=2, padding=1), nn.BatchNorm2d(128), nn.ReLU(),
        )  # fmt: skip
        self.head = nn.Linear(256, size)

    def forward(self, pixels: Tensor) -> Tensor:
        """pixels uint8 (B, 64, 64, 3) → float32 (B, size), unit length."""
        maps = self.layers(pixels.float().permute(0, 3, 1, 2) / 127.5 - 1.0)
        pooled = torch.cat([maps.mean(dim=(2, 3)), maps.amax(dim=(2, 3))], dim=1)
        return unit(self.head(pooled))


class PriceEncoder(nn.Module):
    """A linear map of the price's bumps: near prices have near vectors from the start."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.head = nn.Linear(PRICE_FEATURES, size, bias=False)
        nn.init.orthogonal_(self.head.weight)

    def forward(self, price: Tensor) -> Tensor:
        """price float32 (B, PRICE_FEATURES) → float32 (B, size), unit length."""
        return unit(self.head(price))


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


class DeepFusion(nn.Module):
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


class WholeVector(nn.Module):
    """What Triton serves as `fusion`: the encoded modalities and their deep fusion, as one vector of segments."""

    def __init__(self, fusion: DeepFusion, text_size: int) -> None:
        super().__init__()
        self.fusion, self.text_size = fusion, text_size

    def forward(self, text: Tensor, image: Tensor, price: Tensor, reviews: Tensor, present: Tensor) -> Tensor:
        """→ float32 (B, dimension): text | image | price | reviews | joint | terms. All but text are unit or zero."""
        learned, terms = text[:, : self.text_size] * present[:, :1], text[:, self.text_size :] * present[:, :1]
        parts = [unit(part) * present[:, i : i + 1] for i, part in enumerate((learned, image, price, reviews))]
        return torch.cat([learned, *parts[1:], self.fusion(*parts, present), unit(terms)], dim=1)


def info_nce(anchors: Tensor, positives: Tensor, same: Tensor, temperature: float = 0.1) -> Tensor:
    """Contrastive loss over a batch, both ways (van den Oord et al., 2018).

    anchors, positives: (B, n) of unit length; `same` bool (B, B): pairs off the diagonal that are the same product
    and therefore no negatives.
    """
    logits = anchors @ positives.T / temperature
    logits = logits.masked_fill(same, -1e4)
    target = torch.arange(len(anchors), device=anchors.device)
    return 0.5 * (functional.cross_entropy(logits, target) + functional.cross_entropy(logits.T, target))
