"""Invariant 3, for reviews: a product's summary holds the newest version of each review, however they arrive.

And a sudden flood of them weighs little, whatever it says.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from freshet.domain.products import Version
from freshet.domain.representations import Vector
from freshet.domain.reviews import (
    FULL_WEIGHT,
    MOST_WEIGHED,
    UNIT,
    WINDOW_US,
    Ledger,
    ReviewSummary,
    StoredReview,
    Weighed,
    Window,
    counted,
    shrunk_rating,
    shrunk_sentiment,
    summarise,
    weigh,
)

SHOE, BOOT = "shoe-41", "boot-7"
MODEL = "m1"
DAYS = 3
shuffles = st.integers(0, 2**32 - 1).map(random.Random)


def vector(*values: float) -> Vector:
    return np.array(values, dtype=np.float32)


def review(
    review_id: str = "r1",
    rating: float | None = 5.0,
    text: Vector | None = None,
    time_us: int = 1,
    product_id: str = SHOE,
    words: str = "",
    sentiment: int | None = None,
) -> StoredReview:
    return StoredReview(review_id, product_id, rating, text, Version(time_us, 0), words, sentiment, MODEL)


unit_vectors = st.lists(st.floats(-1, 1, width=32), min_size=3, max_size=3).map(lambda values: vector(*values))
arrivals = st.lists(
    st.tuples(
        st.sampled_from(["r1", "r2", "r3", "r4"]),
        st.sampled_from([SHOE, BOOT]),
        st.one_of(st.none(), st.floats(1, 5)),
        st.one_of(st.none(), st.tuples(unit_vectors, st.sampled_from(["good", "bad", "plain"]), st.integers(0, UNIT))),
        st.integers(0, DAYS * WINDOW_US - 1),
    ),
    max_size=16,
).map(
    lambda told: [
        StoredReview(id_, product, rating, said[0], Version(time_us, i), f"{said[1]} {said[2]}", said[2], MODEL)
        if said is not None
        else StoredReview(id_, product, rating, None, Version(time_us, i), "", None, MODEL)
        for i, (id_, product, rating, said, time_us) in enumerate(told)
    ]
)


def told(reviews: Sequence[StoredReview], sizes: Iterable[int] = ()) -> dict[str, ReviewSummary]:
    """What a caller does with reviews as they arrive, so many at a time: summaries by product_id."""
    summaries = {product: ReviewSummary(model_version=MODEL) for product in (SHOE, BOOT)}
    kept: dict[str, StoredReview] = {}
    rest, chosen = list(reviews), iter(sizes)
    while rest:
        size = next(chosen, 1)
        batch, rest = rest[:size], rest[size:]
        windows = {Window(product, day): list[StoredReview]() for product in (SHOE, BOOT) for day in range(DAYS)}
        for each in kept.values():
            windows[each.window].append(each)
        ledger = Ledger(kept, windows, summaries, MODEL)
        changed = [product for new in batch for product in ledger.put(new)]
        summaries |= {product: ledger.summary(product) for product in changed}
        kept |= {new.review_id: ledger.kept(new.review_id) for new in batch}
    return summaries


def same(a: ReviewSummary, b: ReviewSummary) -> bool:
    sums = a.weighed.text_sum, b.weighed.text_sum
    if (sums[0] is None) != (sums[1] is None):
        return False
    plain = [replace(each, weighed=replace(each.weighed, text_sum=None)) for each in (a, b)]
    return plain[0] == plain[1] and (sums[0] is None or np.array_equal(sums[0], sums[1]))


@given(arrivals, shuffles)
def test_invariant_3_any_order_in_any_batches_with_any_repeats_sums_up_the_newest_of_each_review(
    reviews: list[StoredReview], shuffle: random.Random
) -> None:
    arrived = reviews + shuffle.choices(reviews, k=len(reviews)) if reviews else []
    shuffle.shuffle(arrived)
    newest = {each.review_id: each for each in sorted(reviews, key=lambda each: each.version)}.values()
    for product_id, summary in told(arrived, [shuffle.randint(1, 5) for _ in arrived]).items():
        assert same(summary, summarise([each for each in newest if each.product_id == product_id], MODEL))


@given(arrivals, unit_vectors)
def test_a_part_added_and_taken_out_leaves_nothing(reviews: list[StoredReview], text: Vector) -> None:
    before = told(reviews)[SHOE].weighed
    part = weigh([review("passing", 2.0, text, words="passing")])
    again = before + part - part
    assert same(ReviewSummary(weighed=again), ReviewSummary(weighed=before))


@given(arrivals)
def test_the_shrunk_rating_lies_between_the_mean_and_the_prior(reviews: list[StoredReview]) -> None:
    summary = told(reviews)[SHOE]
    shrunk = shrunk_rating(summary)
    if not any(summary.stars):
        assert shrunk is None
        return
    assert shrunk is not None
    mean = float(np.average([1, 2, 3, 4, 5], weights=summary.weighed.stars))
    assert min(mean, 4.0) - 1e-9 <= shrunk <= max(mean, 4.0) + 1e-9


def test_an_edited_review_counts_once_as_it_now_reads() -> None:
    first, edited = review(text=vector(1, 0), words="fine"), review(rating=2.0, time_us=2)
    assert same(told([first, edited])[SHOE], ReviewSummary((0, 1, 0, 0, 0), 0, Weighed((0, UNIT, 0, 0, 0)), MODEL))


def test_an_older_version_that_comes_late_changes_nothing() -> None:
    edited = review(rating=2.0, time_us=2)
    ledger = Ledger({"r1": edited}, {edited.window: [edited]}, {SHOE: summarise([edited], MODEL)}, MODEL)
    assert ledger.put(review(rating=5.0, time_us=1)) == []
    assert ledger.kept("r1") is edited


def test_a_review_that_moves_to_another_product_leaves_the_first() -> None:
    summaries = told([review(text=vector(1, 0), words="fine"), review(time_us=2, product_id=BOOT)])
    assert summaries[SHOE] == ReviewSummary(model_version=MODEL)
    assert summaries[BOOT].count == 1


@pytest.mark.parametrize(("rating", "star"), [(1.0, 1), (1.4, 1), (3.6, 4), (4.9, 5), (5.0, 5)])
def test_a_rating_counts_as_its_nearest_star(rating: float, star: int) -> None:
    assert counted(ReviewSummary(), review(rating=rating), 1).stars.index(1) + 1 == star


def test_a_single_five_star_review_does_not_make_a_five_star_product() -> None:
    one = ReviewSummary(weighed=Weighed((0, 0, 0, 0, UNIT)))
    many = ReviewSummary(weighed=Weighed((0, 0, 0, 0, 95 * UNIT)))
    assert shrunk_rating(one) == pytest.approx((5 + 4.0 * 5) / 6)
    assert shrunk_rating(many) == pytest.approx((475 + 4.0 * 5) / 100)
    assert shrunk_rating(one, prior_mean=3.0, prior_count=1.0) == 4.0


def test_sentiment_is_shrunk_and_absent_where_nobody_wrote() -> None:
    praised = summarise([review("a", text=vector(1), words="love it", sentiment=950)], MODEL)
    assert shrunk_sentiment(praised) == pytest.approx((0.95 + 0.7 * 3) / 4)
    assert shrunk_sentiment(summarise([review()], MODEL)) is None


def test_a_product_with_words_and_no_stars_has_no_rating() -> None:
    assert shrunk_rating(summarise([review(rating=None, text=vector(1), words="hm")], MODEL)) is None


def test_a_review_that_was_never_counted_cannot_be_taken_out() -> None:
    with pytest.raises(ValueError, match="'r1' is not in the summary of product 'shoe-41'"):
        counted(ReviewSummary((1, 0, 0, 0, 0)), review(rating=5.0), -1)
    with pytest.raises(ValueError, match="'r1' is not in the summary"):
        counted(ReviewSummary((0, 0, 0, 0, 1)), review(text=vector(1), words="x"), -1)


def test_copies_of_a_text_weigh_as_much_as_the_logarithm_of_their_number() -> None:
    copies = [review(f"r{i}", 1.0, vector(0, 1), words="Bad  shoe" if i % 2 else "bad shoe") for i in range(8)]
    weighed = weigh(copies)
    assert weighed.stars == (4 * UNIT, 0, 0, 0, 0)
    assert weighed.text == 4 * UNIT
    assert weighed.text_sum is not None
    assert weighed.text_sum.tolist() == [0, 4]


def test_stars_without_words_are_not_copies_of_one_another() -> None:
    assert weigh([review(f"r{i}", 4.0) for i in range(8)]).stars == (0, 0, 0, 8 * UNIT, 0)


def test_a_burst_of_different_reviews_grows_with_its_logarithm_and_a_slow_stream_counts_in_full() -> None:
    burst = [review(f"r{i}", 1.0, vector(1), words=f"bad {i}") for i in range(8 * FULL_WEIGHT)]
    assert sum(weigh(burst).stars) == pytest.approx(4 * FULL_WEIGHT * UNIT, rel=0.01)
    slow = [replace(each, version=Version((i // FULL_WEIGHT) * WINDOW_US + i, 0)) for i, each in enumerate(burst)]
    assert sum(summarise(slow, MODEL).weighed.stars) == len(slow) * UNIT


def test_more_reviews_never_weigh_less_and_beyond_a_bound_no_more_are_looked_at() -> None:
    flood = [review(f"r{i:05}", 1.0 + i % 2, vector(1), words=f"bad {i}") for i in range(MOST_WEIGHED + 200)]
    weights = [sum(weigh(flood[:n]).stars) for n in range(1, MOST_WEIGHED, 37)]
    assert weights == sorted(weights)
    assert same(ReviewSummary(weighed=weigh(flood)), ReviewSummary(weighed=weigh(flood[:MOST_WEIGHED])))
