"""Reviews of a product, summed up so that one more review is one addition. NumPy only; no I/O."""

from __future__ import annotations

from dataclasses import dataclass

from freshet.domain.products import Version
from freshet.domain.representations import Vector


@dataclass(frozen=True, slots=True)
class Review:
    """One shopper's review. `rating` is 1 to 5, None when the shopper only wrote."""

    review_id: str
    product_id: str
    rating: float | None
    text: str
    version: Version


@dataclass(frozen=True, slots=True)
class StoredReview:
    """What is kept of a review, so that its replacement can take it back out of the summary.

    `text_vector` is the text encoder's output, None for a review without words.
    """

    review_id: str
    product_id: str
    rating: float | None
    text_vector: Vector | None
    version: Version


@dataclass(frozen=True, slots=True)
class ReviewSummary:
    """All reviews of one product: stars counted 1 to 5 (rounded), and the sum of the text vectors."""

    stars: tuple[int, int, int, int, int] = (0, 0, 0, 0, 0)
    text_count: int = 0
    text_vector_sum: Vector | None = None

    @property
    def count(self) -> int:
        return max(sum(self.stars), self.text_count)
