"""Looks at the system each second (each five while nobody watches) and keeps what it saw. May import this room."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from typing import Any

import structlog

from freshet import bootstrap
from freshet.console.broker import Broker, Group
from freshet.console.findings import Health, findings
from freshet.console.flow import flow, working_models
from freshet.console.history import History
from freshet.console.lag import Movement, Row, Summary, Topic, first_waiting, rows_of, summary
from freshet.console.models import Models
from freshet.console.scrape import RATE_SECONDS, Scraper, addresses_of
from freshet.console.services import Services
from freshet.domain.progress import Progress
from freshet.errors import ConfigurationError, DependencyDown, FreshetError, StackError
from freshet.local.state import StackStatus, read_status
from freshet.ports import ServingStore
from freshet.settings import Settings

WATCHED_SECONDS = 1.0
UNWATCHED_SECONDS = 5.0
TRITON_SECONDS = 4.0
"""Triton that has not answered for so long does not work, whatever a slower probe found."""
SILENT_SECONDS = 20.0
"""Having seen nothing for so long is a fault of the console's own: each look has deadlines that are shorter."""
GROUPS_SECONDS = 3.0

log = structlog.get_logger()


class Watch:
    """`snapshot` is what the page shows, as JSON; `history` the last hour. Building it connects nothing."""

    def __init__(self, settings: Settings, services: Services) -> None:
        self._settings, self._services = settings, services
        self._workers = settings.topics.of_workers()
        self._broker = Broker(settings.kafka_url)
        self._scraper = Scraper()
        self._models = Models(settings.encoder_url)
        self._store: ServingStore | None = None
        self._movement = Movement()
        self._groups: dict[str, Group] = {}
        self._groups_at = float("-inf")
        self._rows: dict[str, list[Row]] = {}
        self._rows_at: float | None = None
        self._applied: dict[str, deque[tuple[float, int, int]]] = {name: deque() for name in self._workers}
        self._ends: deque[tuple[float, Mapping[str, int]]] = deque()
        self._model: str | None = None
        self._triton_answered = float("-inf")
        self._watchers = 0
        self._wake = asyncio.Event()
        self._changed = asyncio.Condition()
        self._looked = time.monotonic()
        self.history = History()
        self.snapshot: dict[str, Any] = {}

    @property
    def working(self) -> bool:
        """Whether it still looks; the console's health."""
        return time.monotonic() - self._looked < SILENT_SECONDS

    async def run(self) -> None:
        """Until cancelled."""
        try:
            while True:
                begun = time.monotonic()
                self.snapshot = await self._look()
                self._looked = time.monotonic()
                async with self._changed:
                    self._changed.notify_all()
                pause = WATCHED_SECONDS if self._watchers else UNWATCHED_SECONDS
                self._wake.clear()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), max(0.1, begun + pause - time.monotonic()))
        finally:
            await self._broker.close()
            await self._scraper.close()
            await self._models.close()
            if self._store is not None:
                self._store.close()

    async def snapshots(self) -> AsyncIterator[dict[str, Any]]:
        """The present one (when there is one already), and each that follows."""
        self._watchers += 1
        self._wake.set()
        try:
            if self.snapshot:
                yield self.snapshot
            while True:
                async with self._changed:
                    await self._changed.wait()
                yield self.snapshot
        finally:
            self._watchers -= 1

    async def _look(self) -> dict[str, Any]:
        now, clock = time.time(), time.monotonic()
        status = self._stack()
        kafka_error, sql_error = await self._look_at_workers(clock)
        silent, triton_error = await asyncio.gather(
            self._scraper.scrape(await self._metrics(status), clock), self._models.read(clock)
        )
        summaries = [self._summary(worker, clock) for worker in self._workers]
        if not triton_error:
            self._triton_answered = clock
        silent_triton = triton_error if clock - self._triton_answered >= TRITON_SECONDS else ""
        healths = await self._healths(status, kafka_error, sql_error, silent_triton)
        flowing = flow(self._scraper.series)
        supervised = None if status is None else status.supervised
        models = self._told_models()
        arriving = self._arriving()
        self._remember(now, summaries, flowing, arriving)
        return {
            "time": now,
            "model": " and ".join(models) or self._model_version(),
            "stack": None if status is None else {"state": status.state, "supervised": supervised},
            "findings": [
                asdict(found) for found in findings(healths, summaries, flowing, supervised=supervised, models=models)
            ],
            "health": [asdict(health) for health in healths],
            "workers": [asdict(one) for one in summaries],
            "rows": [asdict(row) | {"stalled": row.stalled} for rows in self._rows.values() for row in rows],
            "rows_time": self._rows_at,
            "groups": {
                worker: {
                    "name": f"freshet-{worker}",
                    "state": group.state,
                    "members": len({member.name for member in group.owners.values()}),
                }
                for worker, group in self._groups.items()
            },
            "arriving": [{"topic": topic, "rate": rate} for topic, rate in arriving.items()],
            "flow": flowing,
            "models": {"rows": self._models.rows(), "error": triton_error},
            "metrics": {"silent": silent, "processes": len(self._scraper.series)},
        }

    async def _look_at_workers(self, clock: float) -> tuple[str, str]:
        """Refresh every row; returns what was wrong with Kafka and with the database, or empty."""
        try:
            # Ends before progress: what is applied in between must not look like lag.
            topic = await self._broker.topics([name for names in self._workers.values() for name in names])
            if clock - self._groups_at >= GROUPS_SECONDS:
                self._groups = {worker: await self._broker.group(f"freshet-{worker}") for worker in self._workers}
                self._groups_at = clock
        except DependencyDown as error:
            return error.detail, await self._sql_error()
        try:
            progress = await asyncio.to_thread(self._progress)
        except (DependencyDown, ConfigurationError) as error:
            return "", str(error)
        self._ends.append((clock, _ends(topic)))
        while len(self._ends) > 2 and clock - self._ends[1][0] >= RATE_SECONDS:
            self._ends.popleft()
        mine = {worker: _of_topics(topic, names) for worker, names in self._workers.items()}
        waiting = {
            place: start
            for worker, own in mine.items()
            for place, end in own.end.items()
            if (start := first_waiting(_applied(progress[worker], place), own.first.get(place, 0), end)) is not None
        }
        try:
            timestamps = await self._broker.timestamps_ms(waiting)
        except DependencyDown as error:
            return error.detail, ""
        for worker, own in mine.items():
            group = self._groups.get(worker, Group("", {}, {}))
            self._rows[worker] = rows_of(
                worker, own, progress[worker], group.committed, group.owners, timestamps, self._movement,
                now_ms=time.time_ns() // 1_000_000, now=clock,
            )  # fmt: skip
        self._rows_at = time.time()
        return "", ""

    async def _sql_error(self) -> str:
        try:
            await asyncio.to_thread(self._progress)
        except (DependencyDown, ConfigurationError) as error:
            return str(error)
        return ""

    def _progress(self) -> dict[str, Mapping[tuple[str, int], Progress]]:
        if self._store is None:
            self._store = bootstrap.serving_store(self._settings)
        return {worker: self._store.progress(worker) for worker in self._workers}

    def _summary(self, worker: str, clock: float) -> Summary:
        rows = self._rows.get(worker, [])
        seen = self._applied[worker]
        seen.append((clock, sum(row.applied for row in rows), sum(row.waiting for row in rows)))
        while len(seen) > 2 and clock - seen[1][0] >= RATE_SECONDS:
            seen.popleft()
        then, applied, waiting = seen[0]
        seconds = clock - then
        rate = max(0.0, (seen[-1][1] - applied) / seconds) if seconds else 0.0
        growth = (seen[-1][2] - waiting) / seconds if seconds else 0.0
        return summary(worker, rows, rate, growth)

    async def _healths(
        self, status: StackStatus | None, kafka_error: str, sql_error: str, triton_error: str
    ) -> list[Health]:
        sql = Health("database", "unhealthy" if sql_error else "healthy", sql_error or "answers")
        if status is not None:
            parts = [
                Health(part.name, _plain(part.state), part.detail, part.since, part.restarts, logs=True, pid=part.pid)
                for part in status.components
            ]
            return [*(_silenced(part, triton_error) for part in parts), sql]
        kafka = Health("kafka", "unhealthy" if kafka_error else "healthy", kafka_error or "answers")
        triton = Health("triton", "unhealthy" if triton_error else "healthy", triton_error or "answers")
        encoders = [triton] if self._settings.encoder_url.startswith("triton://") else []
        return [kafka, sql, *encoders, *[await self._service(name) for name in ("recommend", "ingest")]]

    async def _service(self, name: str) -> Health:
        wrong = await self._services.health(name)
        return Health(name, "unhealthy" if wrong else "healthy", wrong or "serving")

    def _stack(self) -> StackStatus | None:
        """The local stack's state; None when there is none, or the settings name another system than it."""
        try:
            status = read_status(self._settings.data_dir.absolute())
        except StackError as error:
            log.warning("the local stack's state cannot be read", reason=str(error))
            return None
        if (
            status is not None
            and status.settings.get("kafka_url", self._settings.kafka_url) != self._settings.kafka_url
        ):
            return None
        return status

    async def _metrics(self, status: StackStatus | None) -> dict[str, list[str]]:
        """By component, the addresses of its processes' metrics."""
        if given := self._settings.console.metrics:
            found = await asyncio.gather(*map(addresses_of, given.values()))
            return dict(zip(given, found, strict=True))
        parts = status.components if status is not None else ()
        several = {"recommend": self._settings.recommend.workers}
        return {
            part.name: [f"127.0.0.1:{part.metrics_port + number}" for number in range(several.get(part.name, 1))]
            for part in parts
            if part.metrics_port and part.name in (*self._workers, "recommend")
        }

    def _told_models(self) -> list[str]:
        """Versions of the models that the processes work with, as they tell."""
        return sorted({version for one in self._scraper.series.values() for version in working_models(one.latest)})

    def _model_version(self) -> str | None:
        """That of the model folder."""
        if self._model is None:
            with suppress(FreshetError, OSError):
                self._model = bootstrap.model_manifest(self._settings).layout.model_version
        return self._model

    def _arriving(self) -> dict[str, float]:
        """Records per second that came into each topic."""
        if len(self._ends) < 2:
            return {}
        (then, before), (now, after) = self._ends[0], self._ends[-1]
        return {topic: max(0.0, (end - before.get(topic, end)) / (now - then)) for topic, end in after.items()}

    def _remember(
        self, now: float, summaries: Iterable[Summary], flowing: Mapping[str, Any], arriving: Mapping[str, float]
    ) -> None:
        values: dict[str, float | None] = {f"{topic} in": rate for topic, rate in arriving.items()}
        for row in (row for rows in self._rows.values() for row in rows):
            place = f"{row.worker} {row.topic} {row.partition}"
            values[f"{place} waiting"], values[f"{place} behind"] = row.waiting, row.behind_seconds
        for one in summaries:
            values[f"{one.worker} waiting"] = one.waiting
            values[f"{one.worker} behind"] = one.behind_seconds
            values[f"{one.worker} rate"] = one.rate
        for row in flowing["freshness"]:
            if row["recent"]:
                values[f"fresh {row['event']} p50"], values[f"fresh {row['event']} p99"] = row["p50"], row["p99"]
        for row in flowing["methods"]:
            values[f"{row['method']} rate"] = row["rate"]
            values[f"{row['method']} p50"], values[f"{row['method']} p99"] = row["p50"], row["p99"]
        self.history.add(now, values)


def _silenced(part: Health, triton_error: str) -> Health:
    """A local stack's probe of Triton takes longer to give up than the console does."""
    if part.name == "triton" and part.state == "healthy" and triton_error:
        return replace(part, state="unhealthy", detail="it does not answer the console")
    return part


def _plain(state: str) -> str:
    return "starting" if state == "waiting" else state


def _applied(progress: Mapping[tuple[str, int], Progress], place: tuple[str, int]) -> int:
    step = progress.get(place)
    return 0 if step is None else step.next_offset


def _ends(topic: Topic) -> dict[str, int]:
    """How many records ever came, by topic."""
    ends: dict[str, int] = {}
    for (name, _), end in topic.end.items():
        ends[name] = ends.get(name, 0) + end
    return ends


def _of_topics(topic: Topic, names: Iterable[str]) -> Topic:
    wanted = set(names)
    return Topic(
        {place: offset for place, offset in topic.first.items() if place[0] in wanted},
        {place: offset for place, offset in topic.end.items() if place[0] in wanted},
    )
