"""What reviews make of products' summaries, in the words of the model that serves. May import `ports` and below."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from freshet.domain.reviews import (
    MOST_WEIGHED,
    Ledger,
    Review,
    ReviewSummary,
    StoredReview,
    Weighed,
    Window,
    counted,
    weigh,
)
from freshet.ports import CatalogStore
from freshet.stream.encoding import ProductEncoder

PAGE = 500
"""Reviews judged anew at a time."""
TEXT_KEPT = 10_000
"""Characters kept of a review, for the next model: more than any encoder reads."""


class Reviews:
    """Judges reviews once each, and keeps summaries to one model version (invariant 5)."""

    def __init__(self, store: CatalogStore, encoder: ProductEncoder) -> None:
        self._store, self._encoder = store, encoder

    def stale(self, summary: ReviewSummary) -> bool:
        """Whether another model made it."""
        return summary.count > 0 and summary.model_version != self._encoder.model_version

    async def rebuilt(self, product_id: str) -> ReviewSummary:
        """The summary of all stored reviews, judged by this model. What was judged is kept page by page."""
        summary = ReviewSummary(model_version=self._encoder.model_version)
        weighed, window, open_reviews = Weighed(), Window(product_id, -1), list[StoredReview]()
        after = (-1, "")
        while page := await asyncio.to_thread(self._store.reviews_of, product_id, after, PAGE):
            page = await self._judged(page)
            for review in page:
                if review.window != window:
                    weighed, window, open_reviews = weighed + weigh(open_reviews), review.window, []
                summary = counted(summary, review, 1)
                open_reviews.append(review)
            # A window's weight is decided by its smallest ids: no more of it is held.
            open_reviews = sorted(open_reviews, key=lambda review: review.review_id)[:MOST_WEIGHED]
            after = (page[-1].version.event_time_us, page[-1].review_id)
        return ReviewSummary(
            summary.stars, summary.text_count, weighed + weigh(open_reviews), self._encoder.model_version
        )

    async def _judged(self, page: Sequence[StoredReview]) -> list[StoredReview]:
        other = [review for review in page if review.model_version != self._encoder.model_version]
        anew = {review.review_id: review for review in await self._encoder.reviews(other)}
        if anew:
            await asyncio.to_thread(self._store.rewrite_reviews, list(anew.values()))
        return [anew.get(review.review_id, review) for review in page]

    async def ledger(
        self, listed: Sequence[Review], known: Mapping[str, StoredReview], summaries: Mapping[str, ReviewSummary]
    ) -> Ledger:
        """Reads the windows that these reviews change. `summaries` holds those of every product they touch."""
        if not listed:
            return Ledger({}, {}, summaries, self._encoder.model_version)
        touched = {each.window for each in known.values()} | {unjudged(review).window for review in listed}
        most = MOST_WEIGHED + len(listed)
        windows = await asyncio.to_thread(self._store.load_windows, sorted(touched), most)
        return Ledger(known, windows, summaries, self._encoder.model_version)

    async def judged(self, listed: Sequence[Review]) -> list[StoredReview]:
        """Raises DependencyDown."""
        return await self._encoder.reviews([unjudged(review) for review in listed])


def unjudged(review: Review) -> StoredReview:
    """What is kept of a review before a model has read it. PostgreSQL keeps no NUL."""
    text = review.text[:TEXT_KEPT].replace("\0", "")
    return StoredReview(review.review_id, review.product_id, review.rating, None, review.version, text)
