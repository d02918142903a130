"""Co-visits count users and pairs, and decay."""

from __future__ import annotations

import random
from math import sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freshet.domain import covisits
from freshet.domain.covisits import Behaviour, CovisitRules, Visit, decode, encode
from freshet.errors import InvalidInput

DAY_US = 86_400_000_000
T0 = 1_790_000_000_000_000
RULES = CovisitRules(30 * DAY_US, DAY_US, 64)

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


def counted(events: list[Visit]) -> dict[int, Behaviour]:
    behaviours = {number: Behaviour() for number in range(1, 13)}
    for visit in events:
        covisits.record(behaviours, visit, RULES)
    return behaviours


@given(visits, st.randoms(use_true_random=False))
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
    assert covisits.counts_at(behaviours[2], T0, RULES.half_life_us) == pytest.approx({7: 1.0})
    assert covisits.counts_at(behaviours[7], T0, RULES.half_life_us) == pytest.approx({2: 1.0})
    assert covisits.users_at(behaviours[1], month, RULES.half_life_us) == pytest.approx(0.5)


def test_the_cosine_is_shrunk_by_the_users_behind_it() -> None:
    behaviours = counted([Visit(1, T0, 1.0, True, (7,)), Visit(7, T0, 1.0, True, ())])
    users = {7: covisits.users_at(behaviours[7], T0, RULES.half_life_us), 9: 3.0}
    plain = covisits.cosine(behaviours[1], users, T0, RULES.half_life_us, shrinkage=0.0)
    shrunk = covisits.cosine(behaviours[1], users, T0, RULES.half_life_us)
    assert plain == pytest.approx({7: 1.0}), "9 has no pair with 1"
    assert shrunk == pytest.approx({7: 1.0 / sqrt(21 * 21)})


def test_a_user_who_comes_again_adds_demand_but_no_pair() -> None:
    behaviours = counted([Visit(1, T0, 1.0, True, (7,)), Visit(1, T0, 1.0, False, ())])
    assert behaviours[1].trend == pytest.approx(1.0 + T0 / DAY_US)
    assert covisits.users_at(behaviours[1], T0, RULES.half_life_us) == pytest.approx(1.0)


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
    assert covisits.counts_at(behaviours[1], now, RULES.half_life_us) == pytest.approx({7: 1.0})


def test_bytes_of_another_format_are_refused() -> None:
    with pytest.raises(InvalidInput, match="format 9"):
        decode(b"\x09" + encode(Behaviour())[1:])
