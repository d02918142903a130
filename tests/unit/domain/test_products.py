"""Invariant 3: the newest version of a product wins, field by field, whatever the order of arrival."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import fields
from typing import Any, TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freshet.domain.products import (
    BEFORE_ALL,
    FIELDS,
    Change,
    Image,
    Patch,
    Product,
    ProductState,
    Removal,
    Upsert,
    Version,
    live,
    merge,
    newest,
    product,
)

SHOE = "shoe-41"
Event: TypeAlias = tuple[Change, Version]

shoes = st.builds(
    Product,
    product_id=st.just(SHOE),
    title=st.sampled_from(["", "Trail shoe", "Trail shoe GTX"]),
    description=st.sampled_from(["", "Light and grippy."]),
    brand=st.sampled_from(["", "Fell"]),
    categories=st.sampled_from([(), ("shoes",), ("shoes", "trail")]),
    price=st.sampled_from([None, 0.0, 89.5, 120.0]),
    currency=st.sampled_from(["", "EUR"]),
    available=st.booleans(),
    image=st.sampled_from([None, Image(uri="https://shop.example/41.jpg"), Image(content=b"\x89PNG")]),
    attributes=st.sampled_from([{}, {"colour": "red"}, {"colour": "blue", "size": "41"}]),
)
changes = st.one_of(
    st.builds(Upsert, shoes),
    st.builds(Patch, shoes, st.lists(st.sampled_from(FIELDS), min_size=1, unique=True).map(tuple)),
    st.just(Removal(SHOE)),
)
# Few distinct times, so that the offset often has to decide.
histories = st.lists(st.tuples(changes, st.integers(0, 6)), max_size=12).map(
    lambda told: [(change, Version(time_us, offset)) for offset, (change, time_us) in enumerate(told)]
)
shuffles = st.integers(0, 2**32 - 1).map(random.Random)


def at(time_us: int, offset: int = 0) -> Version:
    return Version(time_us, offset)


def merged(events: Sequence[Event], state: ProductState | None = None) -> ProductState:
    state = state or ProductState(SHOE)
    for change, version in events:
        state = merge(state, change, version)
    return state


def told_in_order(events: Sequence[Event]) -> tuple[Product, bool]:
    """The same by hand, without registers: changes in order of version, a removal forgets everything."""
    known: dict[str, Any] = {}
    is_live = False
    for change, _ in sorted(events, key=lambda event: event[1]):
        match change:
            case Removal():
                known, is_live = {}, False
            case Upsert(said):
                known, is_live = {name: getattr(said, name) for name in FIELDS}, True
            case Patch(said, paths):
                known |= {name: getattr(said, name) for name in paths}
    return Product(SHOE, **known), is_live


@given(histories, shuffles)
def test_invariant_3_any_order_with_any_repeats_gives_the_same_state(
    events: list[Event], shuffle: random.Random
) -> None:
    arrived = events + shuffle.choices(events, k=len(events)) if events else []
    shuffle.shuffle(arrived)
    assert merged(arrived) == merged(events)


@given(histories, shuffles)
def test_invariant_3_any_order_of_arrival_ends_as_the_order_of_versions_tells(
    events: list[Event], shuffle: random.Random
) -> None:
    arrived = list(events)
    shuffle.shuffle(arrived)
    state = merged(arrived)
    assert (product(state), live(state)) == told_in_order(events)
    assert newest(state) == max((version for _, version in events), default=BEFORE_ALL)


@given(histories, changes, st.integers(0, 6))
def test_a_change_merged_again_changes_nothing(events: list[Event], change: Change, time_us: int) -> None:
    event = (change, at(time_us, len(events)))
    once = merged([event], merged(events))
    assert merged([event], once) == once


@given(histories)
def test_merging_leaves_the_state_it_was_given_as_it_was(events: list[Event]) -> None:
    before = merged(events)
    fields_before = dict(before.fields)
    merge(before, Upsert(Product(SHOE, title="Another")), at(99))
    assert before.fields == fields_before


def test_every_field_of_a_product_but_its_key_can_be_merged() -> None:
    assert {each.name for each in fields(Product)} == {"product_id", *FIELDS}


def test_a_product_never_heard_of_is_unknown_and_not_live() -> None:
    state = ProductState(SHOE)
    assert product(state) == Product(SHOE)
    assert not live(state)
    assert newest(state) < at(0, 0)


def test_a_patch_that_comes_before_its_product_waits_and_then_counts() -> None:
    waiting = merged([(Patch(Product(SHOE, price=79.0), ("price",)), at(20))])
    assert not live(waiting)
    state = merged([(Upsert(Product(SHOE, title="Trail shoe", price=89.5)), at(10))], waiting)
    assert live(state)
    assert product(state) == Product(SHOE, title="Trail shoe", price=79.0)


def test_an_upsert_makes_unknown_what_it_leaves_out() -> None:
    state = merged([(Upsert(Product(SHOE, title="Trail shoe", price=89.5)), at(1)), (Upsert(Product(SHOE)), at(2))])
    assert product(state) == Product(SHOE)
    assert live(state)


def test_a_patch_clears_what_it_names_and_leaves_out() -> None:
    state = merged(
        [
            (Upsert(Product(SHOE, title="Trail shoe", price=89.5)), at(1)),
            (Patch(Product(SHOE, title="Ignored, for it is not named"), ("price",)), at(2)),
        ]
    )
    assert product(state) == Product(SHOE, title="Trail shoe")


def test_a_patch_alone_does_not_bring_a_removed_product_back() -> None:
    state = merged(
        [
            (Upsert(Product(SHOE, title="Trail shoe")), at(1)),
            (Removal(SHOE), at(2)),
            (Patch(Product(SHOE, price=79.0), ("price",)), at(3)),
        ]
    )
    assert not live(state)
    assert product(state) == Product(SHOE, price=79.0)


def test_a_late_upsert_from_before_the_removal_does_not_bring_the_product_back() -> None:
    state = merged([(Removal(SHOE), at(2)), (Upsert(Product(SHOE, title="Trail shoe")), at(1))])
    assert not live(state)
    assert product(state) == Product(SHOE)


def test_an_upsert_after_the_removal_brings_the_product_back() -> None:
    state = merged([(Removal(SHOE), at(2)), (Upsert(Product(SHOE, title="Trail shoe")), at(3))])
    assert live(state)
    assert product(state) == Product(SHOE, title="Trail shoe")


def test_at_equal_times_the_later_offset_wins() -> None:
    cheap, dear = Upsert(Product(SHOE, price=79.0)), Upsert(Product(SHOE, price=120.0))
    assert product(merged([(dear, at(5, 8)), (cheap, at(5, 7))])).price == 120.0


def test_a_change_of_another_product_is_refused() -> None:
    with pytest.raises(ValueError, match="'boot-7' cannot be merged into 'shoe-41'"):
        merge(ProductState(SHOE), Removal("boot-7"), at(1))
