"""Invariant 3, for reviews: a product's summary holds the newest version of each review, however they arrive."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from freshet.domain.products import Version
from freshet.domain.representations import Vector
from freshet.domain.reviews import ReviewSummary, StoredReview, remove, replace, shrunk_rating

SHOE, BOOT = "shoe-41", "boot-7"
shuffles = st.integers(0, 2**32 - 1).map(random.Random)


def vector(*values: float) -> Vector:
    return np.array(values, dtype=np.float32)


def review(
    review_id: str = "r1",
    rating: float | None = 5.0,
    text: Vector | None = None,
    time_us: int = 1,
    product_id: str = SHOE,
) -> StoredReview:
    return StoredReview(review_id, product_id, rating, text, Version(time_us, 0))


# Whole numbers in eighths: their sums are exact, so that summaries can be compared for equality.
texts = st.lists(st.integers(-8, 8), min_size=3, max_size=3).map(lambda eighths: vector(*eighths) / np.float32(8))
arrivals = st.lists(
    st.tuples(
        st.sampled_from(["r1", "r2", "r3", "r4"]),
        st.sampled_from([SHOE, BOOT]),
        st.one_of(st.none(), st.floats(1, 5)),
        st.one_of(st.none(), texts),
        st.integers(0, 5),
    ),
    max_size=16,
).map(
    lambda told: [
        StoredReview(review_id, product_id, rating, text, Version(time_us, offset))
        for offset, (review_id, product_id, rating, text, time_us) in enumerate(told)
    ]
)


def told(reviews: Sequence[StoredReview]) -> dict[str, ReviewSummary]:
    """What a caller does with reviews as they arrive: summaries by product_id."""
    summaries = {SHOE: ReviewSummary(), BOOT: ReviewSummary()}
    kept: dict[str, StoredReview] = {}
    for new in reviews:
        old = kept.get(new.review_id)
        if old is not None and new.version > old.version and old.product_id != new.product_id:
            summaries[old.product_id] = remove(summaries[old.product_id], old)
        summaries[new.product_id] = replace(summaries[new.product_id], old, new)
        if old is None or new.version > old.version:
            kept[new.review_id] = new
    return summaries


def counted(reviews: Sequence[StoredReview]) -> ReviewSummary:
    """The same by hand, from all reviews at once."""
    stars = [0, 0, 0, 0, 0]
    for each in reviews:
        if each.rating is not None:
            stars[round(each.rating) - 1] += 1
    vectors = [each.text_vector for each in reviews if each.text_vector is not None]
    one, two, three, four, five = stars
    return ReviewSummary((one, two, three, four, five), len(vectors), np.sum(vectors, axis=0) if vectors else None)


def same(a: ReviewSummary, b: ReviewSummary) -> bool:
    if a.text_vector_sum is None or b.text_vector_sum is None:
        sums_agree = a.text_vector_sum is b.text_vector_sum
    else:
        sums_agree = np.array_equal(a.text_vector_sum, b.text_vector_sum)
    return sums_agree and (a.stars, a.text_count) == (b.stars, b.text_count)


@given(arrivals, shuffles)
def test_invariant_3_any_order_with_any_repeats_sums_up_the_newest_of_each_review(
    reviews: list[StoredReview], shuffle: random.Random
) -> None:
    arrived = reviews + shuffle.choices(reviews, k=len(reviews)) if reviews else []
    shuffle.shuffle(arrived)
    newest = {each.review_id: each for each in sorted(reviews, key=lambda each: each.version)}.values()
    for product_id, summary in told(arrived).items():
        assert same(summary, counted([each for each in newest if each.product_id == product_id]))


@given(arrivals, st.floats(1, 5), texts)
def test_a_review_added_and_removed_leaves_the_summary_as_it_was(
    reviews: list[StoredReview], rating: float, text: Vector
) -> None:
    before = told(reviews)[SHOE]
    passing = review("passing", rating, text)
    assert same(remove(replace(before, None, passing), passing), before)


@given(arrivals)
def test_the_shrunk_rating_lies_between_the_mean_and_the_prior(reviews: list[StoredReview]) -> None:
    summary = told(reviews)[SHOE]
    shrunk = shrunk_rating(summary)
    if not any(summary.stars):
        assert shrunk is None
        return
    assert shrunk is not None
    mean = float(np.average([1, 2, 3, 4, 5], weights=summary.stars))
    assert min(mean, 4.0) - 1e-9 <= shrunk <= max(mean, 4.0) + 1e-9


def test_a_summary_is_not_changed_in_place() -> None:
    first = review("r1", 5.0, vector(1, 0))
    summary = replace(ReviewSummary(), None, first)
    both = replace(summary, None, review("r2", 3.0, vector(0, 1)))
    remove(both, first)
    assert summary.text_vector_sum is not None
    assert summary.text_vector_sum.tolist() == [1, 0]
    assert first.text_vector is not None
    assert first.text_vector.tolist() == [1, 0]
    assert both.text_vector_sum is not None
    assert both.text_vector_sum.tolist() == [1, 1]
    assert both.text_vector_sum.dtype == np.float32


def test_an_edited_review_counts_once_as_it_now_reads() -> None:
    first, edited = review(rating=5.0, text=vector(1, 0), time_us=1), review(rating=2.0, time_us=2)
    summary = replace(replace(ReviewSummary(), None, first), first, edited)
    assert same(summary, ReviewSummary((0, 1, 0, 0, 0), 0, None))


def test_an_older_version_that_comes_late_changes_nothing() -> None:
    edited = review(rating=2.0, time_us=2)
    summary = replace(ReviewSummary(), None, edited)
    assert replace(summary, edited, review(rating=5.0, time_us=1)) is summary


def test_the_last_text_taken_out_leaves_no_residue_of_rounding() -> None:
    small, large = review("r1", text=vector(0.1)), review("r2", text=vector(3e7))
    summary = replace(replace(ReviewSummary(), None, small), None, large)
    assert remove(remove(summary, small), large) == ReviewSummary()


@pytest.mark.parametrize(("rating", "star"), [(1.0, 1), (1.4, 1), (3.6, 4), (4.9, 5), (5.0, 5)])
def test_a_rating_counts_as_its_nearest_star(rating: float, star: int) -> None:
    assert replace(ReviewSummary(), None, review(rating=rating)).stars.index(1) + 1 == star


def test_a_single_five_star_review_does_not_make_a_five_star_product() -> None:
    one, many = ReviewSummary((0, 0, 0, 0, 1)), ReviewSummary((0, 0, 0, 0, 95))
    assert shrunk_rating(one) == pytest.approx((5 + 4.0 * 5) / 6)
    assert shrunk_rating(many) == pytest.approx((475 + 4.0 * 5) / 100)
    assert shrunk_rating(one, prior_mean=3.0, prior_count=1.0) == 4.0


def test_a_product_with_words_and_no_stars_has_no_rating() -> None:
    assert shrunk_rating(replace(ReviewSummary(), None, review(rating=None, text=vector(1)))) is None


def test_a_review_that_was_never_counted_cannot_be_removed() -> None:
    with pytest.raises(ValueError, match="'r1' is not in the summary of product 'shoe-41'"):
        remove(ReviewSummary((1, 0, 0, 0, 0)), review(rating=5.0))
    with pytest.raises(ValueError, match="'r1' is not in the summary"):
        remove(ReviewSummary((0, 0, 0, 0, 1)), review(rating=5.0, text=vector(1)))


def test_one_review_does_not_replace_another() -> None:
    with pytest.raises(ValueError, match="'r2' cannot replace review 'r1'"):
        replace(ReviewSummary(), review("r1"), review("r2", time_us=2))
