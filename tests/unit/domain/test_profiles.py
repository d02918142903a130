"""A profile is the same however its interactions arrive."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from freshet.domain import profiles
from freshet.domain.interactions import Kind
from freshet.domain.profiles import Numbered, Profile, ProfileRules, decode, encode, update
from freshet.errors import InvalidInput

DAY_US = 86_400_000_000
T0 = 1_790_000_000_000_000
RULES = ProfileRules((0.0, 1.0, 1.0, 2.5, 4.0, 0.0, 3.0, -3.0, -4.0), 1.5, 14 * DAY_US, 64, 20)

interactions = st.lists(
    st.tuples(
        st.integers(1, 12),
        st.sampled_from([int(kind) for kind in Kind]),
        st.floats(1, 5),
        st.integers(T0, T0 + 90 * DAY_US),
        st.just(0),
    ),
    max_size=40,
)
shuffles = st.integers(0, 2**32 - 1).map(random.Random)


def profile_of(events: list[Numbered]) -> Profile:
    profile = Profile()
    update(profile, events, RULES)
    return profile


@given(interactions, shuffles)
def test_order_of_arrival_does_not_matter(events: list[Numbered], shuffle: random.Random) -> None:
    shuffled = list(events)
    shuffle.shuffle(shuffled)
    a, b = profile_of(events), profile_of(shuffled)
    assert a.seen == b.seen
    assert a.event_time_us == b.event_time_us
    assert a.touches.keys() == b.touches.keys()
    for number, touch in a.touches.items():
        assert touch.time_us == b.touches[number].time_us
        assert touch.kind == b.touches[number].kind
        assert touch.weight == pytest.approx(b.touches[number].weight, rel=1e-9, abs=1e-9)


@given(interactions, st.integers(0, 40))
def test_two_batches_are_the_same_as_one_even_through_storage(events: list[Numbered], cut: int) -> None:
    whole = profile_of(events)
    split = decode(encode(profile_of(events[:cut])))
    update(split, events[cut:], RULES)
    assert encode(split) == encode(whole)


@given(interactions)
def test_what_is_stored_reads_back_equal(events: list[Numbered]) -> None:
    events = [(n, kind, value, t, i + 1) for i, (n, kind, value, t, _) in enumerate(events)]
    profile = profile_of(events)
    assert decode(encode(profile)) == profile


def test_an_event_that_comes_again_is_counted_once() -> None:
    profile = profile_of([(7, Kind.CLICK, None, T0, 99), (7, Kind.CLICK, None, T0, 99)])
    assert profile.touches[7].weight == 1.0


def test_an_event_without_an_id_counts_every_time() -> None:
    assert profile_of([(7, Kind.CLICK, None, T0, 0)] * 2).touches[7].weight == 2.0


def test_only_the_latest_events_are_remembered() -> None:
    profile = profile_of([(1, Kind.CLICK, None, T0 + i, i + 1) for i in range(200)])
    assert len(profile.event_hashes) == profiles.REMEMBERED_EVENTS
    assert 200 in profile.event_hashes
    assert 1 not in profile.event_hashes


def test_a_weight_halves_in_a_half_life() -> None:
    profile = profile_of([(1, Kind.PURCHASE, None, T0, 0)])
    numbers, weights, kinds = profiles.decayed(profile, T0 + 14 * DAY_US, 14 * DAY_US)
    assert numbers.tolist() == [1]
    assert kinds.tolist() == [Kind.PURCHASE]
    np.testing.assert_allclose(weights, [2.0], rtol=1e-6)


def test_the_newest_product_comes_first_and_a_hidden_one_counts_against() -> None:
    profile = profile_of([(2, Kind.HIDE, None, T0 + 5, 0), (1, Kind.CLICK, None, T0, 0)])
    numbers, weights, _ = profiles.decayed(profile, T0 + 5, 14 * DAY_US)
    assert numbers.tolist() == [2, 1]
    assert weights[0] == -4.0
    assert 2 in profile.seen


@pytest.mark.parametrize(("stars", "weight"), [(5.0, 3.0), (3.0, None), (1.0, -3.0)])
def test_a_rating_counts_by_its_distance_from_three_stars(stars: float, weight: float | None) -> None:
    touch = profile_of([(1, Kind.RATING, stars, T0, 0)]).touches.get(1)
    assert (touch and touch.weight) == weight


def test_the_weakest_products_are_dropped() -> None:
    events: list[Numbered] = [(1, Kind.PURCHASE, None, T0, 0)]
    events += [(n, Kind.CLICK, None, T0 + n, 0) for n in range(2, 400)]
    profile = profile_of(events)
    assert len(profile.touches) <= RULES.recent_products + 16
    assert 1 in profile.touches, "a purchase outlives clicks of the same minute"
    assert 2 not in profile.touches
    assert len(profile.seen) == 399, "what was seen is never forgotten"


def test_a_new_liking_names_the_products_liked_before_it() -> None:
    kinds = [(1, Kind.CLICK), (2, Kind.HIDE), (3, Kind.CLICK), (1, Kind.CLICK)]
    visits = update(Profile(), [(number, kind, None, T0, 0) for number, kind in kinds], RULES)
    assert [(v.number, v.is_new, v.earlier) for v in visits] == [(1, True, ()), (3, True, (1,)), (1, False, ())]


def test_bytes_of_another_format_are_refused() -> None:
    with pytest.raises(InvalidInput, match="format 9"):
        decode(b"\x09" + encode(Profile())[1:])
    with pytest.raises(InvalidInput, match="cut short"):
        decode(b"\x01")


def test_which_equal_products_are_dropped_does_not_depend_on_their_numbers() -> None:
    def kept(number_of: list[int]) -> set[int]:
        events: list[Numbered] = [(number_of[i], int(Kind.VIEW), None, T0, 0) for i in range(100)]
        return {number_of.index(number) for number in profile_of(events).touches}

    assert kept(list(range(100))) == kept(list(range(99, -1, -1)))
