"""The index worker over a real store and an exact index: newest wins, removals go, other models are left alone."""

from __future__ import annotations

import uuid

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from records import Record

from freshet import bootstrap
from freshet.adapters.memory_index import MemoryIndex
from freshet.domain.representations import Layout, Modality, Segment, pack
from freshet.ports import ProfileStore
from freshet.settings import Settings
from freshet.stream.batches import Run
from freshet.stream.index import IndexWorker
from freshet.stream.worker import Batch
from freshet.v1.stream_pb2 import Representation

TOPIC = "freshet.representations.v1"
LAYOUT = Layout("m1", (Segment(Modality.TEXT, 4),))


def vector(direction: int) -> np.ndarray:
    """A unit vector along one of the four axes."""
    return np.eye(4, dtype=np.float32)[direction]


def written(number: int, direction: int, *, removed: bool = False, model: str = "m1", time_us: int = 5) -> bytes:
    message = Representation(product_id=f"p{number}", product_number=number, model_version=model, removed=removed)
    message.event_time.FromMicroseconds(time_us)
    if not removed:
        message.vector = pack(vector(direction))
    return message.SerializeToString()


def make() -> tuple[IndexWorker, MemoryIndex, ProfileStore]:
    settings = Settings(database_url=f"memory://{uuid.uuid4().hex}")
    store, index = bootstrap.profile_store(settings), MemoryIndex(LAYOUT)
    return IndexWorker(index, store, LAYOUT, settings), index, store


async def apply(worker: IndexWorker, *values: bytes | None, at: int = 0, repeated: tuple[bytes, ...] = ()) -> None:
    fresh = [Record(at + i, value) for i, value in enumerate(values)]
    again = [Record(i, value) for i, value in enumerate(repeated)]
    runs = [Run(TOPIC, 0, fresh)] if fresh else []
    await worker.apply(Batch(runs, [Run(TOPIC, 0, again)] if again else [], {(TOPIC, 0): at}))


async def nearest(index: MemoryIndex, direction: int) -> list[int]:
    """Numbers of the products that point there."""
    numbers, scores = await index.search(vector(direction)[None], 10, 1.0)
    return sorted(numbers[0][scores[0] > 0.5].tolist())


async def test_a_batch_puts_each_products_newest_vector_into_the_index() -> None:
    worker, index, store = make()
    await apply(worker, written(1, 0), written(2, 0), written(1, 3, time_us=9))
    assert await nearest(index, 0) == [2]
    assert await nearest(index, 3) == [1]
    step = store.progress("index")[TOPIC, 0]
    assert (step.next_offset, step.event_time_us) == (3, 9)


async def test_a_removed_product_leaves_and_may_come_back() -> None:
    worker, index, _ = make()
    await apply(worker, written(1, 0), written(2, 1))
    await apply(worker, written(1, 0, removed=True), at=2)
    assert await index.count() == 1
    await apply(worker, written(1, 2), at=3)
    assert await nearest(index, 2) == [1]


async def test_vectors_of_another_model_are_passed_over() -> None:
    worker, index, store = make()
    await apply(worker, written(1, 0, model="m0"), written(2, 1))
    assert await index.count() == 1
    assert store.progress("index")[TOPIC, 0].next_offset == 2


async def test_a_record_that_cannot_be_read_stops_nothing() -> None:
    worker, index, store = make()
    await apply(worker, b"\xff\xff", None, written(2, 1))
    assert await nearest(index, 1) == [2]
    assert store.progress("index")[TOPIC, 0].next_offset == 3


async def test_what_comes_again_does_not_undo_what_is_newer() -> None:
    worker, index, _ = make()
    await apply(worker, written(1, 0), written(1, 1))
    await apply(worker, written(1, 2), at=2, repeated=(written(1, 0), written(1, 1)))
    assert await nearest(index, 2) == [1]
    assert await nearest(index, 0) == []


changes = st.lists(st.tuples(st.integers(1, 5), st.integers(0, 3), st.booleans()), max_size=30)


@given(changes, st.integers(1, 10))
async def test_however_the_topic_is_cut_the_index_holds_the_newest_of_every_product(
    listed: list[tuple[int, int, bool]], size: int
) -> None:
    worker, index, _ = make()
    values = [written(number, direction, removed=removed) for number, direction, removed in listed]
    for start in range(0, len(values), size):
        await apply(worker, *values[start : start + size], at=start)
    live = {number: direction for number, direction, removed in listed if not removed}
    for number in dict.fromkeys(number for number, _, _ in listed):
        direction, removed = next((d, r) for n, d, r in reversed(listed) if n == number)
        if removed:
            live.pop(number, None)
        else:
            live[number] = direction
    for direction in range(4):
        assert await nearest(index, direction) == sorted(n for n, d in live.items() if d == direction)
