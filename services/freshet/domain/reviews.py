"""Reviews of a product, summed up so that one more review changes one day's part of the sum. NumPy only; no I/O.

What people said is counted twice. `stars` and `text_count` say how many there are. `Weighed` says what they come to,
and is guarded against a sudden flood: within a window (a day of event time), n copies of one text with the same stars
weigh 1 + log₂ n together, and what goes beyond `FULL_WEIGHT` grows with its logarithm alone. A window's part depends on
the set of its reviews, never on their order, and is rounded so that sums of parts are exact: adding a part and taking
it out again leaves nothing (docs/decisions/0013).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

import numpy as np
import xxhash

from freshet.domain.products import Version
from freshet.domain.representations import Vector

Stars: TypeAlias = tuple[int, int, int, int, int]
"""How many shoppers gave one star, two, … five; in `Weighed` in thousandths of a review."""
UNIT = 1_000
"""Weights and sentiments are whole thousandths."""
WINDOW_US = 86_400_000_000
FULL_WEIGHT = 20
"""So much weight of one window counts in full."""
MOST_WEIGHED = 1_000
"""So many reviews of a window are looked at: those with the smallest ids."""
_STEP = 4_096.0
"""Vectors are rounded to one part in so many: float32 holds sums of them exactly up to 4,096."""
NO_STARS: Stars = (0, 0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Review:
    """One shopper's review. `rating` is 1 to 5, None when the shopper only wrote."""

    review_id: str
    product_id: str
    rating: float | None
    text: str
    version: Version


class Window(NamedTuple):
    """A day of one product's reviews."""

    product_id: str
    day: int


@dataclass(frozen=True, slots=True)
class StoredReview:
    """What is kept of a review, so that its replacement can take it back out of the summary.

    `text_vector` is what the text encoder of `model_version` gave, None for a review without words. `sentiment` is in
    thousandths, 0 to 1,000, None where the model has no judge of it. `text` is kept for the next model.
    """

    review_id: str
    product_id: str
    rating: float | None
    text_vector: Vector | None
    version: Version
    text: str = ""
    sentiment: int | None = None
    model_version: str = ""

    @property
    def window(self) -> Window:
        return Window(self.product_id, self.version.event_time_us // WINDOW_US)

    @property
    def star(self) -> int | None:
        """1 to 5."""
        return None if self.rating is None else min(max(round(self.rating), 1), 5)


@dataclass(frozen=True, slots=True)
class Weighed:
    """What reviews come to: weights in thousandths of a review, sums of what is said times its weight.

    `text_sum` is in reviews times unit vectors; `sentiment_sum` in thousandths of thousandths.
    """

    stars: Stars = NO_STARS
    text: int = 0
    text_sum: Vector | None = None
    sentiment: int = 0
    sentiment_sum: int = 0

    def __add__(self, other: Weighed) -> Weighed:
        return self._with(other, 1)

    def __sub__(self, other: Weighed) -> Weighed:
        return self._with(other, -1)

    def _with(self, other: Weighed, sign: int) -> Weighed:
        one, two, three, four, five = (a + sign * b for a, b in zip(self.stars, other.stars, strict=True))
        text, total = self.text + sign * other.text, self.text_sum
        if other.text_sum is not None:
            total = sign * other.text_sum if total is None else total + sign * other.text_sum
        return Weighed(
            (one, two, three, four, five),
            text,
            # Without texts there is no sum, rather than what rounding has left of one.
            total if text else None,
            self.sentiment + sign * other.sentiment,
            self.sentiment_sum + sign * other.sentiment_sum,
        )


@dataclass(frozen=True, slots=True)
class ReviewSummary:
    """All reviews of one product: stars counted 1 to 5 (rounded), texts counted, and what they come to.

    `weighed` is of one model version alone; empty before the first review.
    """

    stars: Stars = NO_STARS
    text_count: int = 0
    weighed: Weighed = field(default_factory=Weighed)
    model_version: str = ""

    @property
    def count(self) -> int:
        return max(sum(self.stars), self.text_count)


def weigh(reviews: Iterable[StoredReview]) -> Weighed:
    """What the reviews of one window come to. Their order does not matter."""
    groups: dict[tuple[bytes, int | None], list[StoredReview]] = {}
    for review in sorted(reviews, key=lambda review: review.review_id)[:MOST_WEIGHED]:
        # Stars without words are no copies of one another.
        said = _same_words(review.text) if review.text_vector is not None else review.review_id.encode()
        groups.setdefault((said, review.star), []).append(review)
    weights = {key: 1.0 + math.log2(len(alike)) for key, alike in groups.items()}
    whole = sum(weights[key] for key in sorted(weights, key=repr))
    share = 1.0 if whole <= FULL_WEIGHT else FULL_WEIGHT * (1.0 + math.log2(whole / FULL_WEIGHT)) / whole
    stars, texts, sentiment, sentiment_sum = [0] * 5, 0, 0, 0
    parts: list[Vector] = []
    for (said, star), alike in sorted(groups.items(), key=lambda group: group[1][0].review_id):
        weight, first = round(UNIT * share * weights[said, star]), alike[0]
        if star is not None:
            stars[star - 1] += weight
        if first.text_vector is not None:
            texts += weight
            parts.append(first.text_vector * np.float32(weight / UNIT))
        if first.sentiment is not None:
            sentiment += weight
            sentiment_sum += weight * first.sentiment
    one, two, three, four, five = stars
    total = (np.round(np.sum(parts, axis=0) * _STEP) / _STEP).astype(np.float32) if parts else None
    return Weighed((one, two, three, four, five), texts, total, sentiment, sentiment_sum)


def counted(summary: ReviewSummary, review: StoredReview, by: int) -> ReviewSummary:
    """The summary with one review more (`by` 1) or less (-1) in its counts; what they come to is left as it is.

    Raises ValueError when a review is taken out that cannot be in it.
    """
    one, two, three, four, five = (n + by * (i == review.star) for i, n in enumerate(summary.stars, start=1))
    stars = (one, two, three, four, five)
    texts = summary.text_count + by * (review.text_vector is not None)
    if min(stars) < 0 or texts < 0:
        raise ValueError(f"review {review.review_id!r} is not in the summary of product {review.product_id!r}")
    return ReviewSummary(stars, texts, summary.weighed, summary.model_version)


def summarise(reviews: Iterable[StoredReview], model_version: str) -> ReviewSummary:
    """The summary of one product from all its reviews, in any order."""
    summary, windows = ReviewSummary(model_version=model_version), dict[Window, list[StoredReview]]()
    for review in reviews:
        summary = counted(summary, review, 1)
        windows.setdefault(review.window, []).append(review)
    weighed = sum((weigh(windows[window]) for window in sorted(windows)), start=Weighed())
    return ReviewSummary(summary.stars, summary.text_count, weighed, model_version)


def shrunk_rating(summary: ReviewSummary, prior_mean: float = 4.0, prior_count: float = 5.0) -> float | None:
    """Mean stars, 1 to 5, as if `prior_count` more shoppers had given `prior_mean`; None when nobody gave stars."""
    weights = summary.weighed.stars
    if not any(weights):
        return None
    total = sum(stars * weight for stars, weight in enumerate(weights, start=1)) / UNIT
    return (total + prior_mean * prior_count) / (sum(weights) / UNIT + prior_count)


def shrunk_sentiment(summary: ReviewSummary, prior_mean: float = 0.7, prior_count: float = 3.0) -> float | None:
    """How well the texts speak of the product, 0 to 1, as if `prior_count` more had said `prior_mean`; None without."""
    weighed = summary.weighed
    if not weighed.sentiment:
        return None
    total = weighed.sentiment_sum / UNIT**2
    return (total + prior_mean * prior_count) / (weighed.sentiment / UNIT + prior_count)


class Ledger:
    """Reviews of a few windows while a batch changes them; tells what each product's summary becomes.

    `known` are reviews by id, `windows` the windows that they and the new ones lie in, up to MOST_WEIGHED reviews of
    each and as many more as will be put.
    """

    def __init__(
        self,
        known: Mapping[str, StoredReview],
        windows: Mapping[Window, Iterable[StoredReview]],
        summaries: Mapping[str, ReviewSummary],
        model_version: str,
    ) -> None:
        self._known = dict(known)
        self._windows = {window: {each.review_id: each for each in listed} for window, listed in windows.items()}
        self._before = {window: weigh(listed.values()) for window, listed in self._windows.items()}
        self._counts = dict(summaries)
        self._model_version = model_version
        self._touched: set[Window] = set()

    def put(self, new: StoredReview) -> list[str]:
        """Products whose summary changes. The newest version of a review wins: an older one changes nothing."""
        old = self._known.get(new.review_id)
        if old is not None and new.version <= old.version:
            return []
        self._known[new.review_id] = new
        if old is not None:
            self._windows[old.window].pop(old.review_id, None)
            self._count(old, -1)
        self._windows[new.window][new.review_id] = new
        self._count(new, 1)
        return list(dict.fromkeys(each.product_id for each in (old, new) if each is not None))

    def kept(self, review_id: str) -> StoredReview:
        return self._known[review_id]

    def summary(self, product_id: str) -> ReviewSummary:
        """With everything that was put."""
        counts = self._counts[product_id]
        weighed = counts.weighed
        for window in sorted(window for window in self._touched if window.product_id == product_id):
            weighed = weighed - self._before[window] + weigh(self._windows[window].values())
        return ReviewSummary(counts.stars, counts.text_count, weighed, self._model_version)

    def _count(self, review: StoredReview, by: int) -> None:
        self._touched.add(review.window)
        self._counts[review.product_id] = counted(self._counts[review.product_id], review, by)


def _same_words(text: str) -> bytes:
    """Equal for texts that differ in case and spaces alone."""
    return xxhash.xxh3_128_digest(" ".join(text.casefold().split()).encode())
