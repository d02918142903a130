"""Runs of records through Faust, against a real broker. Invariants 1, 2, 4 and 6 of architecture.md."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from freshet.adapters.kafka import Producer, bootstrap_servers
from freshet.domain.progress import Progress
from freshet.errors import DependencyDown, ProgressConflict
from freshet.settings import Settings, StreamSettings
from freshet.stream.worker import Batch, Worker

pytestmark = pytest.mark.stack

Place = tuple[str, int]


class Ledger:
    """What a database does for a worker: effects and offsets together, compared before they are set."""

    def __init__(self) -> None:
        self.next: dict[Place, int] = {}
        self.values: dict[Place, list[bytes | None]] = {}

    def apply(self, batch: Batch) -> None:
        steps = batch.advances({})
        for step in steps:
            if self.next.get((step.topic, step.partition), 0) != step.from_offset:
                raise ProgressConflict(f"{step} does not fit")
        for step in steps:
            self.next[step.topic, step.partition] = step.next_offset
        for run in batch.runs:
            self.values.setdefault((run.topic, run.partition), []).extend(record.value for record in run.records)

    @property
    def count(self) -> int:
        return sum(map(len, self.values.values()))


class Handler:
    """Applies to a ledger; `before` may fail or wait first."""

    def __init__(self, name: str, topic: str, ledger: Ledger) -> None:
        self.name, self.topics, self.ledger = name, (topic,), ledger
        self.batches: list[int] = []
        self.repeated = 0
        self.before: Callable[[], object] | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.applied = asyncio.Condition()

    def progress(self) -> Mapping[Place, Progress]:
        return {place: Progress(*place, offset) for place, offset in self.ledger.next.items()}

    async def open(self) -> None: ...

    async def apply(self, batch: Batch) -> None:
        await self.gate.wait()
        if self.before is not None:
            self.before()
        self.ledger.apply(batch)
        self.repeated += sum(len(run.records) for run in batch.repeated)
        self.batches.append(sum(len(run.records) for run in batch.runs))
        async with self.applied:
            self.applied.notify_all()

    async def close(self) -> None: ...

    async def until(self, reached: Callable[[], bool], seconds: float = 30.0) -> None:
        async with asyncio.timeout(seconds), self.applied:
            await self.applied.wait_for(reached)


@pytest.fixture
def topic(kafka: str) -> str:
    name = f"batches-{uuid.uuid4().hex[:8]}"
    admin = AdminClient({"bootstrap.servers": bootstrap_servers(kafka)})
    config = {"max.message.bytes": str(16 * 2**20)}
    admin.create_topics([NewTopic(name, num_partitions=3, config=config)])[name].result()
    return name


@pytest.fixture
def publish(kafka: str, topic: str) -> Callable[[int, int], None]:
    def publish(count: int, size: int = 8, first: int = 0) -> None:
        producer = Producer(kafka, linger_ms=5)
        futures = [producer.publish(topic, f"k{i}", str(i).zfill(size).encode()) for i in range(first, first + count)]
        producer.flush()
        assert all(future.result() for future in futures)
        producer.close()

    return publish


@pytest.fixture
def settings(kafka: str, tmp_path: Path) -> Settings:
    return Settings(
        kafka_url=kafka, data_dir=tmp_path, stream=StreamSettings(retry_first_seconds=0.01, retry_longest_seconds=0.05)
    )


@asynccontextmanager
async def running(handler: Handler, settings: Settings) -> AsyncIterator[Worker]:
    worker = Worker(handler, settings)
    task = asyncio.create_task(worker.run())
    try:
        yield worker
    finally:
        worker.stop()
        async with asyncio.timeout(20):
            await task


def committed(kafka: str, name: str, topic: str) -> int:
    consumer = Consumer({"bootstrap.servers": bootstrap_servers(kafka), "group.id": f"freshet-{name}"})
    try:
        places = consumer.committed([TopicPartition(topic, number) for number in range(3)], timeout=60)
        return sum(max(0, place.offset) for place in places)
    finally:
        consumer.close()


def name() -> str:
    return f"w{uuid.uuid4().hex[:8]}"


async def test_every_record_comes_once_and_in_order_and_is_committed(
    kafka: str, topic: str, publish: Callable[..., None], settings: Settings
) -> None:
    publish(20_000)
    handler = Handler(name(), topic, Ledger())
    async with running(handler, settings):
        await handler.until(lambda: handler.ledger.count >= 20_000)
    values = handler.ledger.values
    assert sorted(int(v) for listed in values.values() for v in listed) == list(range(20_000))
    assert all([int(v) for v in listed] == sorted(int(v) for v in listed) for listed in values.values())
    assert max(handler.batches) > 500, "records come in runs, not one by one"
    assert committed(kafka, handler.name, topic) == 20_000


async def test_a_restart_goes_on_where_it_stopped(topic: str, publish: Callable[..., None], settings: Settings) -> None:
    publish(1_000)
    handler = Handler(name(), topic, Ledger())
    async with running(handler, settings):
        await handler.until(lambda: handler.ledger.count >= 1_000)
    publish(1_000, first=1_000)
    again = Handler(handler.name, topic, handler.ledger)
    async with running(again, settings):
        await again.until(lambda: again.ledger.count >= 2_000)
    assert again.repeated == 0
    assert sorted(int(v) for listed in again.ledger.values.values() for v in listed) == list(range(2_000))


async def test_records_that_the_store_has_applied_already_are_not_applied_again(
    topic: str, publish: Callable[..., None], settings: Settings
) -> None:
    """Invariant 2: the store's offset counts, not Kafka's."""
    publish(900)
    ledger = Ledger()
    first = Handler(name(), topic, ledger)
    async with running(first, settings):
        await first.until(lambda: ledger.count >= 900)
    publish(10, first=900)
    # Another group has committed nothing: every record is delivered to it once more.
    second = Handler(name(), topic, ledger)
    async with running(second, settings):
        await second.until(lambda: ledger.count >= 910)
    assert second.repeated == 900
    assert sorted(int(v) for listed in ledger.values.values() for v in listed) == list(range(910))


async def test_an_empty_store_is_filled_again_from_the_log(
    topic: str, publish: Callable[..., None], settings: Settings
) -> None:
    publish(500)
    handler = Handler(name(), topic, Ledger())
    async with running(handler, settings):
        await handler.until(lambda: handler.ledger.count >= 500)
    empty = Handler(handler.name, topic, Ledger())
    async with running(empty, settings):
        await empty.until(lambda: empty.ledger.count >= 500)
    assert empty.ledger.values == handler.ledger.values


async def test_a_dependency_that_is_down_is_waited_for(
    topic: str, publish: Callable[..., None], settings: Settings
) -> None:
    """Invariant 4: nothing is lost, skipped or counted twice meanwhile."""
    failures = iter(range(5))

    def fail() -> None:
        if next(failures, None) is not None:
            raise DependencyDown("sql", "is being restarted")

    publish(2_000)
    handler = Handler(name(), topic, Ledger())
    handler.before = fail
    async with running(handler, settings):
        await handler.until(lambda: handler.ledger.count >= 2_000)
    assert next(failures, None) is None
    assert sorted(int(v) for listed in handler.ledger.values.values() for v in listed) == list(range(2_000))


async def test_an_error_of_the_worker_itself_ends_it_and_commits_nothing(
    kafka: str, topic: str, publish: Callable[..., None], settings: Settings
) -> None:
    """Invariant 1: what failed is not acknowledged."""

    def fail() -> None:
        raise RuntimeError("a bug")

    publish(100)
    handler = Handler(name(), topic, Ledger())
    handler.before = fail
    with pytest.raises(RuntimeError, match="a bug"):
        async with asyncio.timeout(30):
            await Worker(handler, settings).run()
    assert committed(kafka, handler.name, topic) == 0


async def test_what_is_held_is_bounded(topic: str, publish: Callable[..., None], settings: Settings) -> None:
    """Invariant 6: a worker that cannot apply does not fetch on and on."""
    publish(4_000, size=10_000)
    limits = StreamSettings(fetched_bytes=4 * 2**20, batch_records=500)
    handler = Handler(name(), topic, Ledger())
    handler.gate.clear()
    async with running(handler, settings.model_copy(update={"stream": limits})) as worker:
        consumer = worker.app.consumer
        async with asyncio.timeout(20):
            while consumer._held_bytes < limits.fetched_bytes:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        await asyncio.sleep(1.0)  # time in which it would go on, if nothing held it
        assert consumer._held_bytes < limits.fetched_bytes + 500 * 11_000
        handler.gate.set()
        await handler.until(lambda: handler.ledger.count >= 4_000)
    assert handler.ledger.count == 4_000


async def test_a_record_larger_than_a_fetch_still_comes(
    topic: str, publish: Callable[..., None], settings: Settings
) -> None:
    publish(1, size=3 * 2**20)
    handler = Handler(name(), topic, Ledger())
    async with running(handler, settings.model_copy(update={"stream": StreamSettings(fetched_bytes=2**20)})):
        await handler.until(lambda: handler.ledger.count >= 1)
    assert handler.ledger.count == 1


async def test_two_workers_share_the_partitions_and_apply_each_record_once(
    topic: str, publish: Callable[..., None], settings: Settings
) -> None:
    """A rebalance in the middle of work loses nothing and repeats nothing."""
    publish(10_000)
    ledger, group = Ledger(), name()
    first, second = Handler(group, topic, ledger), Handler(group, topic, ledger)
    async with running(first, settings):
        await first.until(lambda: ledger.count > 0)
        async with running(second, settings):
            for start in range(10_000, 60_000, 2_500):
                await asyncio.to_thread(publish, 2_500, first=start)
            await second.until(lambda: bool(second.batches))
            await asyncio.wait(
                [asyncio.ensure_future(h.until(lambda: ledger.count >= 60_000)) for h in (first, second)],
                return_when=asyncio.FIRST_COMPLETED,
            )
            assert ledger.count == 60_000
    assert sorted(int(v) for listed in ledger.values.values() for v in listed) == list(range(60_000))
