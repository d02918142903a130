"""Co-visits count users and pairs, and decay."""

from __future__ import annotations

import random
from math import exp2, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from freshet.domain import covisits
from freshet.domain.covisits import Behaviour, CovisitRules, Visit, decode, encode
from freshet.errors import InvalidInput

DAY_US = 86_400_000_000
T0 = 1_790_000_000_000_000
HALF_LIFE = 30 * DAY_US
RULES = CovisitRules(HALF_LIFE, DAY_US, 64)

visits = st.lists(
    st.builds(
        Visit,
        number=st.integers(1, 6),
        time_us=st.integers(T0, T0 + 120 * DAY_US),
        weight=st.sampled_from([1.0, 2.5, 4.0]),
        is_new=st.booleans(),
        earlier=st.lists(st.integers(7, 12), unique=True, max_size=4).map(tuple),
    ),
    max_size=30,
)
shuffles = st.integers(0, 2**32 - 1).map(random.Random)


def counted(events: list[Visit]) -> dict[int, Behaviour]:
    behaviours = {number: Behaviour() for number in range(1, 13)}
    for visit in events:
        covisits.record(behaviours, visit, RULES)
    return behaviours


def pairs(behaviour: Behaviour, time_us: int) -> dict[int, float]:
    """Co-counts by neighbour, as a reader sees them at a moment."""
    read = covisits.strongest([encode(behaviour)], 1_000)
    return dict(zip(read.numbers.tolist(), covisits.counts_at(read.levels, time_us, HALF_LIFE).tolist(), strict=True))


def users(behaviour: Behaviour, time_us: int) -> float:
    return exp2(covisits.strongest([encode(behaviour)], 0).users_level - time_us / HALF_LIFE)


@given(visits, shuffles)
def test_order_of_arrival_does_not_matter(events: list[Visit], shuffle: random.Random) -> None:
    shuffled = list(events)
    shuffle.shuffle(shuffled)
    a, b = counted(events), counted(shuffled)
    for number in a:
        assert a[number].epoch == b[number].epoch
        assert a[number].users == pytest.approx(b[number].users)
        assert a[number].trend == pytest.approx(b[number].trend)
        assert a[number].neighbours == pytest.approx(b[number].neighbours)


@given(visits, st.integers(0, 30))
def test_storing_in_between_changes_nothing(events: list[Visit], cut: int) -> None:
    behaviours = {number: decode(encode(value)) for number, value in counted(events[:cut]).items()}
    for visit in events[cut:]:
        covisits.record(behaviours, visit, RULES)
    assert {n: encode(b) for n, b in behaviours.items()} == {n: encode(b) for n, b in counted(events).items()}


def test_a_pair_is_counted_both_ways_and_decays() -> None:
    behaviours = counted([Visit(1, T0, 1.0, True, ()), Visit(2, T0, 1.0, True, (7,))])
    month = T0 + 30 * DAY_US
    assert pairs(behaviours[2], T0) == pytest.approx({7: 1.0})
    assert pairs(behaviours[7], T0) == pytest.approx({2: 1.0})
    assert users(behaviours[1], month) == pytest.approx(0.5)


def test_the_cosine_is_shrunk_by_the_users_behind_it() -> None:
    behaviours = counted([Visit(1, T0, 1.0, True, (7,)), Visit(7, T0, 1.0, True, ())])
    counts = np.array([pairs(behaviours[1], T0)[7]])
    of_1, of_7 = np.array([users(behaviours[1], T0)]), np.array([users(behaviours[7], T0)])
    assert covisits.cosines(counts, of_1, of_7, shrinkage=0.0) == pytest.approx([1.0])
    assert covisits.cosines(counts, of_1, of_7) == pytest.approx([1.0 / sqrt(21 * 21)])


@given(visits, st.integers(1, 3))
def test_lanes_add_up_to_what_one_worker_would_have_counted(events: list[Visit], lanes: int) -> None:
    whole = counted(events)
    apart = [counted(events[lane::lanes]) for lane in range(lanes)]
    now = max((event.time_us for event in events), default=T0)
    for number, behaviour in whole.items():
        parts = [encode(lane[number]) for lane in apart if number in lane]
        read = covisits.strongest(parts, 1_000)
        alone = covisits.strongest([encode(behaviour)], 1_000)
        assert exp2(read.users_level - now / HALF_LIFE) == pytest.approx(exp2(alone.users_level - now / HALF_LIFE))
        summed = dict(zip(read.numbers.tolist(), covisits.counts_at(read.levels, now, HALF_LIFE), strict=True))
        expected = dict(zip(alone.numbers.tolist(), covisits.counts_at(alone.levels, now, HALF_LIFE), strict=True))
        assert summed == pytest.approx(expected)


def test_trends_of_several_lanes_are_summed_before_they_are_compared() -> None:
    rows = [(1, 5.0), (2, 4.5), (2, 4.5), (3, 1.0)]
    assert covisits.summed_trends(rows, 2) == [(2, pytest.approx(5.5)), (1, 5.0)]


def test_a_user_who_comes_again_adds_demand_but_no_pair() -> None:
    behaviours = counted([Visit(1, T0, 1.0, True, (7,)), Visit(1, T0, 1.0, False, ())])
    assert behaviours[1].trend == pytest.approx(1.0 + T0 / DAY_US)
    assert users(behaviours[1], T0) == pytest.approx(1.0)


def test_trends_order_products_by_demand_now() -> None:
    events = [Visit(1, T0, 4.0, False, ()), *[Visit(2, T0 + 3 * DAY_US, 1.0, False, ())] * 2]
    behaviours = counted(events)
    assert behaviours[2].trend > behaviours[1].trend, "4 three days ago is half of 1 now"


def test_only_the_strongest_neighbours_are_kept() -> None:
    behaviours = {number: Behaviour() for number in range(1, 400)}
    for _ in range(3):
        covisits.record(behaviours, Visit(1, T0, 1.0, True, (2,)), RULES)
    for number in range(3, 400):
        covisits.record(behaviours, Visit(1, T0, 1.0, True, (number,)), RULES)
    assert len(behaviours[1].neighbours) <= 2 * RULES.neighbours
    assert 2 in behaviours[1].neighbours


def test_an_event_years_later_does_not_overflow() -> None:
    behaviours = counted([Visit(1, T0, 1.0, True, (7,)), Visit(1, T0 + 40_000 * DAY_US, 1.0, True, (7,))])
    now = T0 + 40_000 * DAY_US
    assert pairs(behaviours[1], now) == pytest.approx({7: 1.0})


def test_bytes_of_another_format_are_refused() -> None:
    with pytest.raises(InvalidInput, match="format 9"):
        decode(b"\x09" + encode(Behaviour())[1:])
