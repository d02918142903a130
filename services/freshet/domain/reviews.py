"""Reviews of a product, summed up so that one more review is one addition. NumPy only; no I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from freshet.domain.products import Version
from freshet.domain.representations import Vector

Stars: TypeAlias = tuple[int, int, int, int, int]
"""How many shoppers gave one star, two, … five."""


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

    stars: Stars = (0, 0, 0, 0, 0)
    text_count: int = 0
    text_vector_sum: Vector | None = None

    @property
    def count(self) -> int:
        return max(sum(self.stars), self.text_count)


def replace(summary: ReviewSummary, old: StoredReview | None, new: StoredReview) -> ReviewSummary:
    """The summary of `new`'s product once `new` has come; `old` is what is kept under the same review_id.

    The newest version wins: unless `new` is newer than `old`, nothing changes, and the caller keeps `old`. When the
    newer review is of another product, nothing is taken out here: the caller calls `remove` on old's product.
    Raises ValueError when the two are different reviews.
    """
    if old is not None:
        if old.review_id != new.review_id:
            raise ValueError(f"review {new.review_id!r} cannot replace review {old.review_id!r}")
        if new.version <= old.version:
            return summary
        if old.product_id == new.product_id:
            summary = remove(summary, old)
    return _add(summary, new)


def remove(summary: ReviewSummary, review: StoredReview) -> ReviewSummary:
    """The summary without one review that is in it. Raises ValueError when it cannot be in it."""
    stars = _count(summary.stars, review.rating, -1)
    total, vector = summary.text_vector_sum, review.text_vector
    if min(stars) < 0 or (vector is not None and (total is None or summary.text_count < 1)):
        raise ValueError(f"review {review.review_id!r} is not in the summary of product {review.product_id!r}")
    if vector is None or total is None:
        return ReviewSummary(stars, summary.text_count, total)
    # Without texts there is no sum, rather than what rounding has left of one.
    left = summary.text_count - 1
    return ReviewSummary(stars, left, total - vector if left else None)


def shrunk_rating(summary: ReviewSummary, prior_mean: float = 4.0, prior_count: float = 5.0) -> float | None:
    """Mean stars, 1 to 5, as if `prior_count` more shoppers had given `prior_mean`; None when nobody gave stars."""
    rated = sum(summary.stars)
    if not rated:
        return None
    total = sum(stars * shoppers for stars, shoppers in enumerate(summary.stars, start=1))
    return (total + prior_mean * prior_count) / (rated + prior_count)


def _add(summary: ReviewSummary, review: StoredReview) -> ReviewSummary:
    stars = _count(summary.stars, review.rating, 1)
    total, vector = summary.text_vector_sum, review.text_vector
    if vector is None:
        return ReviewSummary(stars, summary.text_count, total)
    return ReviewSummary(stars, summary.text_count + 1, vector if total is None else total + vector)


def _count(stars: Stars, rating: float | None, by: int) -> Stars:
    if rating is None:
        return stars
    given = min(max(round(rating), 1), 5)
    one, two, three, four, five = (n + by if i == given else n for i, n in enumerate(stars, start=1))
    return one, two, three, four, five
