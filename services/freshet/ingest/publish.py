"""Bulk publishing: rows become records, bad rows are told and passed over, and every record is confirmed at the end.

May import domain, errors and this room.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

from freshet.domain.progress import Position
from freshet.errors import ConfigurationError, DependencyDown, FreshetError, InvalidInput
from freshet.ingest.files import Read
from freshet.ingest.mapping import Columns, read_event
from freshet.ingest.records import Event, Publishes, RecordWriter


class Source(NamedTuple):
    """An event and where it came from, or why there is none."""

    place: str
    event: Event | InvalidInput


@dataclass
class Summary:
    """What one bulk run did. `last` is the newest record of each (topic, partition)."""

    read: int = 0
    published: int = 0
    rejected: int = 0
    last: dict[tuple[str, int], Position] = field(default_factory=dict)


class BulkProducer(Publishes, Protocol):
    """A producer that can be waited for."""

    def flush(self, timeout_seconds: float = 60.0) -> None: ...


class _Deliveries:
    """Counts what Kafka confirmed, in its thread; keeps the first failure."""

    def __init__(self, summary: Summary) -> None:
        self._summary = summary
        self._lock = threading.Lock()
        self.failure: FreshetError | None = None

    def __call__(self, future: Future[Position]) -> None:
        error = future.exception()
        with self._lock:
            if error is not None:
                self.failure = self.failure or (
                    error if isinstance(error, FreshetError) else DependencyDown("kafka", str(error))
                )
                return
            position = future.result()
            place = (position.topic, position.partition)
            self._summary.published += 1
            if place not in self._summary.last or self._summary.last[place].offset < position.offset:
                self._summary.last[place] = position

    def check(self) -> None:
        if self.failure is not None:
            raise self.failure


def events_of(
    rows: Iterable[Read], columns: Columns, *, patch: bool = False, folder: Path | None = None
) -> Iterator[Source]:
    """The events of a file's rows."""
    for read in rows:
        if read.error is not None:
            yield Source(read.place, read.error)
            continue
        try:
            yield Source(read.place, read_event(read.row, columns, patch=patch, folder=folder))
        except InvalidInput as error:
            yield Source(read.place, error)


def publish_events(
    sources: Iterable[Source],
    producer: BulkProducer,
    records: RecordWriter,
    *,
    rejected: Callable[[str, InvalidInput], None],
    progress: Callable[[Summary], None] = lambda summary: None,
    strict: bool = False,
) -> Summary:
    """Publish, wait for Kafka's confirmation of all, and say what happened.

    `rejected` hears of each bad event. `strict`: the first one raises ConfigurationError after what went before it
    is confirmed. Raises DependencyDown when Kafka does not confirm.
    """
    summary = Summary()
    deliveries = _Deliveries(summary)
    stopped: ConfigurationError | None = None
    for place, event in sources:
        summary.read += 1
        try:
            if isinstance(event, InvalidInput):
                raise event
            outgoing = records.write(event, time.time_ns() // 1_000)
        except InvalidInput as error:
            summary.rejected += 1
            rejected(place, error)
            if strict:
                stopped = ConfigurationError(f"{place}: {error}. Stopped there, as --strict asks")
                break
        else:
            outgoing.send(producer).add_done_callback(deliveries)
        if summary.read % 256 == 0:
            deliveries.check()
            progress(summary)
    producer.flush(120.0)
    deliveries.check()
    progress(summary)
    if stopped is not None:
        raise stopped
    return summary
