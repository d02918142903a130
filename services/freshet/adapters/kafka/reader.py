"""Reading a whole topic, and going on as it grows."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, TopicPartition

from freshet.adapters.kafka.connection import bootstrap_servers, dependency_down, position_of
from freshet.adapters.kafka.topics import topic_bounds
from freshet.domain.progress import Position
from freshet.errors import DependencyDown, FreshetError


@dataclass(frozen=True, slots=True)
class ReadRecord:
    """One record as a reader sees it."""

    position: Position
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]
    timestamp_ms: int


class Reader:
    """Reads every partition of one topic in a thread of its own, from the beginning or from given offsets.

    No consumer group: each reader sees the whole topic. `deliver` is called in the reader's thread with records in
    order; `end` holds the end offsets at start, so that the caller knows when it has caught up.
    """

    def __init__(
        self,
        url: str,
        topic: str,
        deliver: Callable[[Sequence[ReadRecord]], None],
        *,
        start: Mapping[int, int] | None = None,
        failed: Callable[[FreshetError], None] | None = None,
        batch_records: int = 2_000,
    ) -> None:
        self._url, self._topic, self._deliver = url, topic, deliver
        self._start, self._failed, self._batch_records = start or {}, failed, batch_records
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._consumer: Consumer | None = None
        self.end: dict[int, int] = {}

    def start(self, timeout_seconds: float = 30.0) -> None:
        """Connect, note the end offsets and begin to read. Raises DependencyDown."""
        bounds = topic_bounds(self._url, [self._topic], timeout_seconds)
        if not bounds:
            raise DependencyDown("kafka", f"topic {self._topic} is not there")
        self.end = {number: end if end > first else 0 for (_, number), (first, end) in sorted(bounds.items())}
        consumer = Consumer(
            {
                "bootstrap.servers": bootstrap_servers(self._url),
                "group.id": "freshet-reader",
                "enable.auto.commit": False,
                "enable.partition.eof": False,
                "fetch.wait.max.ms": 500,
                "fetch.min.bytes": 1,
                "fetch.queue.backoff.ms": 10,
                "queued.max.messages.kbytes": 65_536,
                "socket.nagle.disable": True,
                "log_level": 0,
            }
        )
        try:
            consumer.assign([TopicPartition(self._topic, n, self._start.get(n, OFFSET_BEGINNING)) for n in self.end])
        except KafkaException as error:
            consumer.close()
            raise dependency_down(error) from error
        self._consumer = consumer
        self._thread = threading.Thread(target=self._read, args=(consumer,), name=f"read-{self._topic}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()

    def _read(self, consumer: Consumer) -> None:
        try:
            while not self._stopping.is_set():
                first = consumer.poll(0.2)
                if first is None:
                    continue
                # What is already here comes along; nothing is waited for.
                messages = [first, *consumer.consume(self._batch_records, timeout=0)]
                records = []
                for message in messages:
                    if (error := message.error()) is not None:
                        if self._failed is not None:
                            self._failed(dependency_down(error))
                        continue
                    records.append(_record(message))
                if records:
                    self._deliver(records)
        finally:
            with suppress(KafkaException):
                consumer.close()


def _record(message: Any) -> ReadRecord:
    return ReadRecord(
        position_of(message),
        message.key(),
        message.value(),
        message.headers() or (),
        message.timestamp()[1],
    )
