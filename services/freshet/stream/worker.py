"""The shell around every worker: one Faust app that collects runs, applies them, and acknowledges after the effects.

May import `adapters` only through what it is given. Runs until it is told to stop, or until something is wrong that
waiting will not mend; then the process ends, and whoever watches it starts it again.
"""

from __future__ import annotations

import asyncio
import fcntl
import itertools
import random
import re
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import faust
import structlog
import xxhash
from prometheus_client import Counter, Histogram

from freshet import garbage, tracing
from freshet.adapters.kafka import bootstrap_servers
from freshet.domain.progress import Advance, Progress
from freshet.errors import DependencyDown, ProgressConflict
from freshet.settings import Settings
from freshet.stream.batches import Record, Run, RunSchema, RunTransport
from freshet.stream.dead_letters import DEAD_LETTERS, REASONS
from freshet.stream.lag import LagGauges, Standing
from freshet.telemetry import Heartbeat, serve_metrics

log = structlog.get_logger()
_FINISH_SECONDS = 1.5
_LAG_SECONDS = 1.0
_ENDS_EVERY = 5
"""Every so many looks at the lag, Kafka is asked for the ends: a worker that stopped fetching hears of none."""
_SESSION_SECONDS = 10.0
"""Another worker takes over the partitions of one that was silent for so long."""

RECORDS = Counter("freshet_worker_records", "Records applied.", ["worker", "topic"])
BATCH = Histogram(
    "freshet_worker_batch_records", "Records per batch.", ["worker"], buckets=[1, 4, 16, 64, 256, 1024, 4096]
)
APPLY = Histogram(
    "freshet_worker_apply_seconds", "Time to apply one batch.", ["worker"],
    buckets=[0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 2, 10],
)  # fmt: skip
RETRIES = Counter(
    "freshet_worker_retries", "Batches tried again because a dependency was away.", ["worker", "dependency"]
)


@dataclass(frozen=True, slots=True)
class Batch:
    """What a worker applies at once: of each partition the records not yet applied, and those that came again.

    `repeated` records are already in the store; a worker that publishes what it derives publishes it once more.
    """

    runs: Sequence[Run]
    repeated: Sequence[Run]
    positions: Mapping[tuple[str, int], int]
    """Where the store stands, by (topic, partition), before this batch."""
    assigned: frozenset[tuple[str, int]] = frozenset()
    """The partitions that are this worker's alone."""

    def advances(self, event_times_us: Mapping[tuple[str, int], int]) -> list[Advance]:
        """The step each partition takes when this batch is applied."""
        return [
            Advance(
                run.topic,
                run.partition,
                self.positions.get((run.topic, run.partition), 0),
                run.next_offset,
                event_times_us.get((run.topic, run.partition), 0),
            )
            for run in self.runs
        ]


class Membership:
    """A name in the consumer group that outlives a crash (KIP-345): who starts again gets its partitions at once.

    The lowest number that no process on this machine holds; the lock on its file goes with the process.
    """

    def __init__(self, folder: Path, worker: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for number in itertools.count():
            self._file = (folder / f"{worker}-{number}.lock").open("w")
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._file.close()
                continue
            host = re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname())[:100]
            place = xxhash.xxh32_hexdigest(str(folder.absolute()).encode())
            self.name = f"{worker}-{host}-{place}-{number}"
            return

    def release(self) -> None:
        self._file.close()


class Handler(Protocol):
    """A worker's work. `apply` returns when its effects are durable; it may be called again with the same batch.

    With an attribute `polls_per_batch` a batch may have so many times `batch_records`, when so many wait.
    """

    name: str
    topics: Sequence[str]

    def progress(self) -> Mapping[tuple[str, int], Progress]:
        """How far the store is, by (topic, partition). Blocks."""
        ...

    async def open(self) -> None:
        """Connect to what the work needs, so that the first batch does not wait. Raises DependencyDown."""
        ...

    async def apply(self, batch: Batch) -> None: ...

    async def close(self) -> None: ...


class Worker:
    """One Faust app around one handler."""

    def __init__(self, handler: Handler, settings: Settings) -> None:
        self._handler, self._settings = handler, settings
        self._waiting: asyncio.Queue[Any] = asyncio.Queue(maxsize=16)
        self._positions: dict[tuple[str, int], int] = {}
        self._assigned: frozenset[tuple[str, int]] = frozenset()
        self._generation = -1
        self._background: list[asyncio.Task[None]] = []
        self._stored: Mapping[tuple[str, int], int] | None = None
        """What the store had applied at the last assignment."""
        self._batch_records = BATCH.labels(handler.name)
        self._apply_seconds = APPLY.labels(handler.name)
        self._records = {topic: RECORDS.labels(handler.name, topic) for topic in handler.topics}
        for reason in REASONS:
            # A series that begins at 1 has not increased: it is there at 0 before the first letter.
            DEAD_LETTERS.labels(handler.name, reason)
        self._membership = Membership(settings.data_dir / "run", handler.name)
        self._idle = asyncio.Lock()
        self._stop = asyncio.Event()
        self._datadir = tempfile.TemporaryDirectory(prefix="freshet-faust-")
        self.app = self._build()

    def _build(self) -> Any:
        limits = self._settings.stream
        app = faust.App(
            f"freshet-{self._handler.name}",
            broker=f"kafka://{bootstrap_servers(self._settings.kafka_url)}",
            store="memory://",
            datadir=self._datadir.name,
            autodiscover=False,
            web_enabled=False,
            topic_disable_leader=True,
            topic_allow_declare=False,
            stream_buffer_maxsize=2,
            stream_wait_empty=False,
            stream_recovery_delay=0.0,
            broker_commit_interval=0.5,
            broker_commit_livelock_soft_timeout=86_400.0,
            broker_max_poll_records=limits.batch_records,
            broker_max_poll_interval=86_400.0,
            broker_session_timeout=_SESSION_SECONDS,
            broker_heartbeat_interval=_SESSION_SECONDS / 4,
            consumer_group_instance_id=self._membership.name,
            # The fetcher holds at most this much of each partition beside what is queued here. A single record that
            # is larger comes all the same (KIP-74).
            consumer_max_fetch_size=max(min(limits.fetched_bytes // 8, 4 * 2**20), 2**16),
            consumer_auto_offset_reset="earliest",
            loghandlers=[],
        )
        transport = RunTransport(app.conf.broker, app, loop=app.loop)
        transport.applied = self._assigned_positions
        transport.hold_bytes = limits.fetched_bytes
        app.transport = transport
        for topic in self._handler.topics:
            channel = app.topic(topic, schema=RunSchema(), internal=False, allow_empty=True)
            app.agent(channel, name=f"{self._handler.name}-{topic}")(self._collect)
        return app

    async def _collect(self, stream: Any) -> None:
        async for event in stream.noack().events():
            await self._waiting.put(event)

    async def _load_positions(self) -> Mapping[tuple[str, int], int]:
        progress = await self._retrying(lambda: asyncio.to_thread(self._handler.progress))
        return {place: step.next_offset for place, step in progress.items()}

    async def _assigned_positions(self) -> Mapping[tuple[str, int], int]:
        partitions = sorted(f"{tp.topic}/{tp.partition}" for tp in self.app.consumer.assignment())
        self._stored = positions = await self._load_positions()
        log.info("assigned", partitions=partitions)
        return positions

    async def run(self) -> None:
        """Work until `stop`. Raises what made it impossible to go on."""
        try:
            if await self._opened():
                await self._work()
        finally:
            await self._handler.close()
            self._datadir.cleanup()
            self._membership.release()
            log.info("stopped")

    async def _work(self) -> None:
        await self.app.start()
        garbage.settle()
        log.info("started", topics=list(self._handler.topics))
        apply = asyncio.create_task(self._apply_for_ever(), name="apply")
        waiters = {
            apply,
            asyncio.create_task(self._stop.wait(), name="stop"),
            asyncio.create_task(_crash_of(self.app), name="faust"),
        }
        if self._settings.metrics_port:
            self._background.append(asyncio.create_task(self._measure_lag(), name="lag"))
        try:
            done, _ = await asyncio.wait(waiters, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
            # The batch in hand is finished, if it can be soon.
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._idle.acquire(), timeout=_FINISH_SECONDS)
        finally:
            for task in (*waiters, *self._background):
                task.cancel()
            await asyncio.gather(*waiters, *self._background, return_exceptions=True)
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self.app.stop(), timeout=5.0)

    async def _opened(self) -> bool:
        """Whether the handler is open; False where it was told to stop while it waited."""
        opening = asyncio.create_task(self._retrying(self._handler.open), name="open")
        stop = asyncio.create_task(self._stop.wait(), name="stop")
        try:
            await asyncio.wait({opening, stop}, return_when=asyncio.FIRST_COMPLETED)
            if opening.done():
                opening.result()
            return opening.done()
        finally:
            opening.cancel()
            stop.cancel()
            await asyncio.gather(opening, stop, return_exceptions=True)

    def stop(self) -> None:
        """Finish the batch in hand, commit, and leave."""
        self._stop.set()

    async def _apply_for_ever(self) -> None:
        limit = self._settings.stream.batch_records * getattr(self._handler, "polls_per_batch", 1)
        while True:
            events = [await self._waiting.get()]
            size = len(events[0].value.records)
            while size < limit and not self._waiting.empty():
                events.append(self._waiting.get_nowait())
                size += len(events[-1].value.records)
            async with self._idle:
                await self._apply(events)

    async def _apply(self, events: Sequence[Any]) -> None:
        generation = self.app.consumer_generation_id
        if generation != self._generation:
            self._positions = dict(await self._load_positions())
            self._assigned = frozenset((tp.topic, tp.partition) for tp in self.app.consumer.assignment())
            self._generation = generation
        # Records of an earlier assignment come again, here or to their new owner.
        events = [event for event in events if event.message.generation_id == generation]
        batch = self._batch([event.value for event in events])
        if batch.runs or batch.repeated:
            started = time.perf_counter()
            try:
                with tracing.applying(self._handler.name, batch.runs):
                    await self._retrying(lambda: self._handler.apply(batch), lambda: self._is_stale(generation))
            except (ProgressConflict, _Stale):
                if not self._is_stale(generation):
                    raise
                # The partitions moved on while this batch was in hand: they come again, here or at their new owner.
                self._generation = -1
                log.info("given up", records=sum(len(run.records) for run in batch.runs))
                return
            self._note(batch, time.perf_counter() - started)
        for event in events:
            event.ack()

    def _batch(self, runs: Sequence[Run]) -> Batch:
        records: dict[tuple[str, int], list[Record]] = {}
        for run in runs:
            records.setdefault((run.topic, run.partition), []).extend(run.records)
        fresh, repeated = [], []
        for place, listed in records.items():
            position = self._positions.get(place, 0)
            new = listed if listed[0].offset >= position else [r for r in listed if r.offset >= position]
            if new:
                fresh.append(Run(*place, new))
            if len(new) < len(listed):
                repeated.append(Run(*place, listed[: len(listed) - len(new)]))
        return Batch(fresh, repeated, dict(self._positions), self._assigned)

    def _note(self, batch: Batch, seconds: float) -> None:
        for run in batch.runs:
            self._positions[run.topic, run.partition] = run.next_offset
            self._records[run.topic].inc(len(run.records))
        self._batch_records.observe(sum(len(run.records) for run in batch.runs))
        self._apply_seconds.observe(seconds)

    async def _measure_lag(self) -> None:
        """Keep the gauges; costs the work nothing but a look a second."""
        gauges = LagGauges(f"freshet-{self._handler.name}")
        firsts: Mapping[Any, int] = {}
        ends: Mapping[Any, int] = {}
        for look in itertools.count():
            if look % _ENDS_EVERY == 0:
                with suppress(DependencyDown, asyncio.TimeoutError):
                    firsts, ends = await asyncio.wait_for(self.app.consumer.ends(), _LAG_SECONDS * _ENDS_EVERY)
            gauges.set(self._standings(firsts, ends), time.time())
            await asyncio.sleep(_LAG_SECONDS)

    def _standings(self, firsts: Mapping[Any, int], ends: Mapping[Any, int]) -> dict[tuple[str, int], Standing]:
        consumer = self.app.consumer
        settled = self._generation == self.app.consumer_generation_id
        positions = self._positions if settled else self._stored
        if positions is None:
            return {}
        oldest = consumer.oldest_held_ms()
        standings = {}
        for tp in consumer.assignment():
            place = (tp.topic, tp.partition)
            known, fetched = consumer.reach(tp)
            applied = max(positions.get(place, 0), firsts.get(tp, 0))
            end = max(known, ends.get(tp, 0), applied)
            if tp not in oldest and fetched >= end:
                applied = end
            standings[place] = Standing(applied, end, oldest.get(tp))
        return standings

    def _is_stale(self, generation: int) -> bool:
        return bool(self.app.consumer_generation_id != generation)

    async def _retrying(self, attempt: Any, given_up: Callable[[], bool] = lambda: False) -> Any:
        """Try until the dependency is back, with backoff and jitter; meanwhile fetching stops when the queues are full.

        Raises _Stale when `given_up` says that there is no use any more.
        """
        wait = self._settings.stream.retry_first_seconds
        while True:
            try:
                return await attempt()
            except DependencyDown as error:
                if given_up():
                    raise _Stale from error
                RETRIES.labels(self._handler.name, error.dependency).inc()
                log.warning("waiting", dependency=error.dependency, error=str(error), retry_in_seconds=round(wait, 2))
                await asyncio.sleep(random.uniform(wait / 2, wait))
                wait = min(wait * 2, self._settings.stream.retry_longest_seconds)


class _Stale(Exception):
    """The batch belongs to an earlier assignment."""


async def _crash_of(app: Any) -> None:
    """Return when Faust has stopped by itself; raise what stopped it."""
    await app.wait_until_stopped()
    if app.crash_reason is not None:
        raise app.crash_reason


def run_worker(handler: Handler, settings: Settings) -> None:
    """The process's main: uvloop, one worker, until SIGTERM or SIGINT."""
    import uvloop

    heartbeat = Heartbeat()
    serve_metrics(settings, heartbeat=heartbeat)

    async def main() -> None:
        beating = asyncio.create_task(heartbeat.run(), name="heartbeat")
        worker = Worker(handler, settings)
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, worker.stop)
        try:
            await worker.run()
        finally:
            beating.cancel()

    tracing.start(settings, f"worker-{handler.name}")
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(main())
    finally:
        tracing.stop()
