"""The mirror: newest wins, other models are passed over, and what the index lacks is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from freshet.domain.progress import Position
from freshet.recommend.rerank import choose
from freshet.v1 import stream_pb2


def record(offset: int, message: stream_pb2.Representation | None, key: str = "a", partition: int = 0) -> Any:
    class Record:
        position = Position("freshet.representations.v1", partition, offset)

    Record.key = key.encode()  # type: ignore[attr-defined]
    Record.value = message.SerializeToString() if message is not None else None  # type: ignore[attr-defined]
    return Record


async def test_reading_records_again_or_out_of_order_keeps_the_newest(shop: Any) -> None:
    first, second = shop.representation("a", 0, title="old"), shop.representation("a", 1, title="new")
    shop.mirror.apply([record(50, first), record(51, second), record(50, first)])
    row = shop.mirror.row_of("a")
    assert shop.mirror.facts(row).title == "new"
    assert shop.mirror.vectors[row][1] == 1.0
    assert shop.mirror.positions[0] == 52


async def test_vectors_of_another_model_are_counted_and_passed_over(shop: Any) -> None:
    before = shop.mirror.count
    shop.mirror.apply([record(50, shop.representation("z", 0, model_version="m2"))])
    assert shop.mirror.count == before
    assert shop.mirror.other_model_records == 1
    assert shop.mirror.positions[0] == 51


async def test_bytes_that_are_no_representation_are_counted(shop: Any) -> None:
    broken = record(50, None)
    broken.value = b"\xff\xff"
    shop.mirror.apply([broken])
    assert shop.mirror.unreadable_records == 1


async def test_a_tombstone_removes_the_product(shop: Any) -> None:
    row = shop.mirror.row_of("boot-1")
    shop.mirror.apply([record(50, None, key="boot-1")])
    assert not shop.mirror.live[row]
    assert not shop.mirror.known(row)
    assert row not in shop.mirror.category_rows(["boot"]).tolist()


async def test_it_grows_beyond_its_first_capacity_and_keeps_every_row(shop: Any) -> None:
    for i in range(100):
        shop.product(f"many-{i}", i % 8, price=float(i))
    rows = [shop.mirror.row_of(f"many-{i}") for i in range(100)]
    assert shop.mirror.prices[rows].tolist() == [float(i) for i in range(100)]
    assert (shop.mirror.vectors[rows, [i % 8 for i in range(100)]] == 1.0).all()
    assert (shop.mirror.rows_of(shop.mirror.numbers[rows]) == rows).all()
    assert shop.mirror.rows_of(np.array([-1, 10_000_000])).tolist() == [-1, -1]


async def test_it_is_caught_up_when_everything_there_at_the_start_is_read(shop: Any) -> None:
    shop.mirror.expect({0: 51, 1: 0})
    assert not shop.mirror.filled.is_set()
    shop.mirror.apply([record(50, shop.representation("a", 0))])
    assert shop.mirror.filled.is_set()


async def test_what_the_index_has_not_shown_for_long_enough_stays_fresh(shop: Any) -> None:
    end = shop.mirror.positions[0]
    await shop.pulse.refresh(100.0)
    assert len(shop.mirror.unsettled()) == end
    from freshet.domain.progress import Advance

    shop.store.apply("index", [], [], [Advance(shop.mirror.topic, 0, 0, end, 0)])
    await shop.pulse.refresh(101.0)
    await shop.pulse.refresh(103.9)
    assert len(shop.mirror.unsettled()) == end
    await shop.pulse.refresh(104.1)
    assert len(shop.mirror.unsettled()) == 0


@pytest.mark.parametrize("diversity", [0.0, 0.5, 1.0])
def test_variety_shows_every_candidate_once(diversity: float) -> None:
    random = np.random.default_rng(2)
    scores = np.sort(random.random(30))[::-1]
    likeness = random.standard_normal((30, 8)).astype(np.float32)
    likeness /= np.linalg.norm(likeness, axis=1, keepdims=True)
    taken = np.empty(0, np.intp)
    while len(more := choose(scores, lambda rows: likeness[rows], taken, 7, diversity)):
        taken = np.concatenate([taken, more])
    assert sorted(taken.tolist()) == list(range(30))
    assert taken[0] == 0
