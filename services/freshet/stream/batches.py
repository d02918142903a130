"""Whole runs of records through Faust: a transport whose consumer yields one message per partition and poll.

Assignment, rebalance, flow control, commit and lag stay Faust's. Written against faust-streaming 0.15.3, whose
internals it overrides; tests/system/test_batches.py holds it to a real broker. May import `domain` and `errors`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, cast

import faust
import structlog
from aiokafka.errors import IllegalStateError, KafkaError
from faust.exceptions import FaustError
from faust.transport.drivers import aiokafka as driver

from freshet.errors import DependencyDown

log = structlog.get_logger()


class Record(Protocol):
    """One Kafka record as aiokafka hands it over."""

    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]
    offset: int
    timestamp: int
    """Milliseconds since the epoch."""


@dataclass(frozen=True, slots=True)
class Run:
    """Consecutive records of one partition, at least one."""

    topic: str
    partition: int
    records: Sequence[Record]

    @property
    def first_offset(self) -> int:
        return self.records[0].offset

    @property
    def next_offset(self) -> int:
        """The offset after the last record."""
        return self.records[-1].offset + 1


_RECORD_OVERHEAD_BYTES = 600
"""What a record costs in memory beside its value: key, headers and the objects around them."""

Positions: TypeAlias = Callable[[], Awaitable[Mapping[tuple[str, int], int]]]


class RunSchema(faust.Schema):  # type: ignore[type-arg]
    """Hands a run to the agent as it is: reading bytes is the worker's own business."""

    def compile(self, app: Any, **_options: Any) -> Any:
        create_event = app.create_event

        async def decode(message: Any, *, propagate: bool = False) -> Any:
            return create_event(message.key, message.value, message.headers, message)

        return decode


class RunConsumer(driver.Consumer):
    """Faust's Kafka consumer, a run at a time.

    A message's value is a Run and its offset is the run's first. Acknowledging it acknowledges the whole run. Holds
    only with `stream.noack()` and `event.ack()`: the compiled stream has an acknowledgement of its own.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._delivered: dict[Any, int] = {}
        self._held: dict[tuple[Any, int], int] = {}
        self._oldest: dict[tuple[Any, int], int] = {}
        self._held_bytes = 0
        self._room = asyncio.Event()

    async def perform_seek(self) -> None:
        """Go to what Kafka holds as committed, or further back where the store has applied less than that.

        A store that was emptied or restored is thereby filled again from the log.
        """
        try:
            await self._seek_where_work_goes_on()
        except IllegalStateError as error:
            # The partitions moved on while we sought. The assignment that follows seeks for itself.
            log.info("sought in vain", reason=str(error))
        finally:
            self._delivered.clear()
            self._forget_held()

    async def _seek_where_work_goes_on(self) -> None:
        await super().perform_seek()
        applied = await cast(RunTransport, self.transport).applied_positions()
        for tp in self.assignment():
            committed = self._committed_offset.get(tp) or 0
            wanted = applied.get((tp.topic, tp.partition), 0)
            if wanted < committed:
                await self._seek(tp, wanted)
                self._read_offset[tp] = wanted or None
                self._committed_offset[tp] = wanted or None

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[Any, Any]]:
        """Yield (partition, message) once per partition that has records.

        Nothing more is asked for while `hold_bytes` are delivered and not acknowledged (invariant 6).
        """
        if self._held_bytes >= cast(RunTransport, self.transport).hold_bytes and self.flow_active:
            self._room.clear()
            await self.wait_first(self._room.wait(), self.suspend_flow.wait(), timeout=timeout)
            return
        records, active = await self._wait_next_records(timeout)
        generation = self.app.consumer_generation_id
        if records is None or self.should_stop:
            return
        if not self.flow_active:
            # What was fetched belongs to an assignment that is being changed: fetch it again.
            await self.perform_seek()
            return
        for tp, fetched in records.items():
            if not self.flow_active or self.app.consumer_generation_id != generation:
                return
            if not (active is None or tp in active or tp in self._buffered_partitions):
                continue
            delivered = self._delivered.get(tp, -1)
            fresh = fetched if fetched and fetched[0].offset > delivered else _after(fetched, delivered)
            if not fresh:
                continue
            self.app.monitor.track_tp_end_offset(tp, self.highwater(tp))
            message: Any = self._to_message(tp, fresh[0])
            message.value = Run(tp.topic, tp.partition, fresh)
            self._hold(tp, fresh)
            yield tp, message
            if self.app.consumer_generation_id == generation:
                self._delivered[tp] = self._read_offset[tp] = fresh[-1].offset

    def ack(self, message: Any) -> bool:
        """Acknowledge every record of the run."""
        self._held_bytes -= self._held.pop((message.tp, message.offset), 0)
        self._oldest.pop((message.tp, message.offset), None)
        self._room.set()
        if not super().ack(message):
            return False
        # Offsets that compaction took away lie inside the run and count as done.
        rest = range(message.offset + 1, message.value.next_offset)
        self._acked_index[message.tp].update(rest)
        self._acked[message.tp].extend(rest)
        self._n_acked += len(rest)
        return True

    def verify_event_path(self, now: float, tp: Any) -> None:
        """Nothing: a worker that waits for a dependency is slow on purpose. Lag is watched from outside."""

    def oldest_held_ms(self) -> dict[Any, int]:
        """By partition: the time in Kafka of the oldest record that is delivered and not acknowledged."""
        oldest: dict[Any, int] = {}
        for (tp, _), time_ms in self._oldest.items():
            oldest.setdefault(tp, time_ms)
        return oldest

    def reach(self, tp: Any) -> tuple[int, int]:
        """A partition's end as the last fetch told it, and the next offset to fetch; zeros while neither is known.

        The latter passes over transactions' markers, which have an offset and are no records.
        """
        try:
            state = self._thread._ensure_consumer()._subscription.subscription.assignment.state_value(tp)
            return state.highwater or 0, state.position
        except (AssertionError, AttributeError, KeyError, FaustError):
            # The partitions are moving on, or the connection is made anew.
            return 0, 0

    async def ends(self) -> tuple[dict[Any, int], dict[Any, int]]:
        """First and end offset by assigned partition, asked of Kafka. Raises DependencyDown."""
        assigned = self.assignment()
        if not assigned:
            return {}, {}
        try:
            return dict(await self.earliest_offsets(*assigned)), dict(await self.highwaters(*assigned))
        except (KafkaError, FaustError, OSError) as error:
            raise DependencyDown("kafka", str(error)) from error

    def _hold(self, tp: Any, records: Sequence[Any]) -> None:
        size = sum(len(record.value or b"") + _RECORD_OVERHEAD_BYTES for record in records)
        self._held[tp, records[0].offset] = size
        self._oldest[tp, records[0].offset] = records[0].timestamp
        self._held_bytes += size

    def _forget_held(self) -> None:
        """Faust has emptied its queues: what they held comes again."""
        self._held.clear()
        self._oldest.clear()
        self._held_bytes = 0
        self._room.set()


def _after(records: Sequence[Any], offset: int) -> Sequence[Any]:
    return [record for record in records if record.offset > offset]


class RunTransport(driver.Transport):
    """Faust's Kafka transport with `RunConsumer`. `applied` tells what the store has applied, by (topic, partition)."""

    Consumer = RunConsumer
    applied: Positions | None = None
    hold_bytes: int = 64 * 2**20
    """Records delivered and not yet acknowledged may have this many bytes, and one poll's more."""

    async def applied_positions(self) -> Mapping[tuple[str, int], int]:
        return {} if self.applied is None else await self.applied()
