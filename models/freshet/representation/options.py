"""What a training run is asked to do: sizes, which encoder and fusion, which losses. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

BATCH = 256
"""Pairs a step."""
MODALITY_DROPOUT = 0.25
"""Share of the modalities that a step leaves out, so that any subset gives a usable vector."""


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


@dataclass(frozen=True, slots=True)
class TrainingOptions:
    """`seconds` is a bound: training ends with the epoch in which it is passed. Where `epochs` end it, time plays no
    part in what comes out.

    `image` is what `encoders.image.image_encoder` takes, `fusion` names one of `fusion.FUSIONS`, `losses` weighs those
    of `losses.LOSSES` by name.
    """

    seed: int = 0
    seconds: float = 100.0
    epochs: int = 6
    threads: int = 2
    sizes: Sizes = field(default_factory=Sizes)
    image: str = "cnn"
    fusion: str = "gated"
    losses: Mapping[str, float] = field(
        default_factory=lambda: {"chosen_together": 1.0, "captions": 1.0, "pictures_together": 0.5}
    )
