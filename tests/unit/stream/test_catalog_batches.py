"""The catalogue worker's batches: what comes again, what fails on the way, and the parts of a large one."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import Future

import numpy as np
import pytest
from catalog_line import Line, boot, event, review
from numpy.typing import NDArray
from records import Record

from freshet import bootstrap
from freshet.adapters.kafka import Outgoing
from freshet.domain.progress import Published
from freshet.domain.representations import Matrix, Modality
from freshet.errors import DependencyDown
from freshet.stream.batches import Run
from freshet.stream.catalog import PART_PRODUCTS
from freshet.stream.worker import Batch


async def test_records_that_come_again_change_nothing_and_are_published_again() -> None:
    line = Line()
    (first,) = await line.send(event(upsert=boot()))
    rows = dict(line.encoders.rows)
    again = await line.apply({topic: list(records) for topic, records in line.records.items()})
    assert again == [first]
    assert line.encoders.rows == rows


async def test_what_was_published_of_a_batch_is_noted_for_each_of_its_partitions() -> None:
    line = Line()
    products, reviews = line.worker.topics
    serving = bootstrap.serving_store(line.settings)
    await line.send(event(upsert=boot()), event(upsert=boot(product_id="hat")), review("r1", "boot", 5.0, "lovely"))
    assert serving.published() == {(products, 0): Published(2, {0: 2}), (reviews, 0): Published(1, {0: 2})}
    # A dead letter, and a patch of what nobody has published, change nothing: that is noted too.
    await line.send(b"\xff\xff\xff", review("r2", "unknown", 5.0, "lovely"))
    assert serving.published() == {(products, 0): Published(3, {0: 2}), (reviews, 0): Published(2, {0: 2})}


async def test_what_was_stored_and_not_published_is_noted_when_it_comes_again() -> None:
    line = Line()
    products, _ = line.worker.topics
    serving = bootstrap.serving_store(line.settings)
    line.kafka.down = True
    with pytest.raises(DependencyDown):
        await line.send(event(upsert=boot()))
    assert line.worker.progress()[products, 0].next_offset == 1
    assert serving.published() == {}
    line.kafka.down = False
    await line.apply({products: line.records[products]})
    assert serving.published() == {(products, 0): Published(1, {0: 1})}


async def test_where_publishing_fails_the_same_batch_is_published_and_not_stored_again() -> None:
    line = Line()
    products, _ = line.worker.topics
    batch = Batch([Run(products, 0, [Record(0, event(upsert=boot()).SerializeToString())])], [], {})
    line.kafka.down = True
    with pytest.raises(DependencyDown):
        await line.worker.apply(batch)
    rows = dict(line.encoders.rows)
    line.kafka.down = False
    await line.worker.apply(batch)
    assert [each.product_id for each in line.kafka.published] == ["boot"]
    assert line.encoders.rows == rows
    assert line.worker.progress()[products, 0].next_offset == 1
    assert bootstrap.serving_store(line.settings).published() == {(products, 0): Published(1, {0: 1})}


def shop(line: Line, count: int) -> Batch:
    """A batch of so many products, each of one upsert."""
    values = [event(upsert=boot(product_id=f"p{i}", title=f"Boot {i}")).SerializeToString() for i in range(count)]
    records = [Record(i, value, f"p{i}".encode()) for i, value in enumerate(values)]
    return Batch([Run(line.worker.topics[0], 0, records)], [], {})


async def test_a_large_batch_is_stored_in_parts_and_published_in_its_order() -> None:
    line = Line()
    await line.worker.apply(shop(line, 2 * PART_PRODUCTS + 1))
    assert [each.product_id for each in line.kafka.published] == [f"p{i}" for i in range(2 * PART_PRODUCTS + 1)]
    assert line.encoders.rows["fusion"] == 2 * PART_PRODUCTS + 1
    assert line.worker.progress()[line.worker.topics[0], 0].next_offset == 2 * PART_PRODUCTS + 1


async def test_what_is_done_of_a_batch_is_not_done_again_whatever_fails_of_the_rest() -> None:
    """Invariants 1 and 2: the offset goes with the part, and what is stored is published sooner or later."""
    line = Line()
    products, _ = line.worker.topics
    batch = shop(line, 4 * PART_PRODUCTS)
    encode, stored = line.encoders.encode, []

    async def failing(modality: Modality, inputs: Mapping[str, NDArray[np.generic]]) -> Matrix:
        line.encoders.down = line.encoders.rows["fusion"] == 2 * PART_PRODUCTS and not stored
        return await encode(modality, inputs)

    line.encoders.encode = failing  # type: ignore[method-assign]
    with pytest.raises(DependencyDown):
        await line.worker.apply(batch)
    # The second part was published beside the third, which failed.
    assert line.worker.progress()[products, 0].next_offset == len(line.kafka.published) == 2 * PART_PRODUCTS
    stored.append(True)
    line.kafka.down = True
    for _ in range(3):
        with pytest.raises(DependencyDown):
            await line.worker.apply(batch)
    # One part could not be published; the next was stored beside it.
    assert line.worker.progress()[products, 0].next_offset == 4 * PART_PRODUCTS
    line.kafka.down = False
    await line.worker.apply(batch)
    assert [each.product_id for each in line.kafka.published] == [f"p{i}" for i in range(4 * PART_PRODUCTS)]
    assert line.encoders.rows["fusion"] == 4 * PART_PRODUCTS


async def test_no_more_than_two_parts_wait_for_kafka() -> None:
    """Invariant 6."""
    line = Line()
    batch = shop(line, 4 * PART_PRODUCTS)
    line.kafka.down = True
    for _ in range(4):
        with pytest.raises(DependencyDown):
            await line.worker.apply(batch)
    assert line.worker.progress()[line.worker.topics[0], 0].next_offset == 2 * PART_PRODUCTS
    assert line.encoders.rows["fusion"] == 2 * PART_PRODUCTS


async def test_a_worker_that_is_told_to_stop_waits_for_no_confirmation() -> None:
    line = Line()
    asked = asyncio.Event()

    def never(topic: str, records: Sequence[Outgoing]) -> Future[dict[int, int]]:
        asked.set()
        return Future()

    line.kafka.publish_all = never  # type: ignore[method-assign]
    applying = asyncio.create_task(line.worker.apply(shop(line, 1)))
    await asyncio.wait_for(asked.wait(), 60.0)
    applying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(applying, 60.0)


async def test_while_the_encoders_are_down_nothing_is_stored_and_the_same_batch_succeeds_later() -> None:
    line = Line()
    line.encoders.down = True
    with pytest.raises(DependencyDown):
        await line.send(event(upsert=boot()))
    assert line.store.load(["boot"]) == {}
    assert line.kafka.published == []
    line.encoders.down = False
    (published,) = await line.apply({topic: list(records) for topic, records in line.records.items()})
    assert published.title == "Red boot"
