"""Kafka's place in tests of publishing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

from freshet.domain.progress import Position


class KeptLog:
    """A producer that keeps (key, value, headers) by topic.

    With `answers` False it is a Kafka that never confirms; with `error` one that confirms nothing, and says so.
    """

    def __init__(self, answers: bool = True, error: Exception | None = None) -> None:
        self.records: defaultdict[str, list[tuple[Any, ...]]] = defaultdict(list)
        self.answers, self.error = answers, error

    def publish(
        self,
        topic: str,
        key: str | bytes | None,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes | None]] | None = None,
        timestamp_ms: int | None = None,
    ) -> Future[Position]:
        future: Future[Position] = Future()
        self.records[topic].append((key, value, headers))
        if self.error is not None:
            future.set_exception(self.error)
        elif self.answers:
            future.set_result(Position(topic, 0, len(self.records[topic]) - 1))
        return future

    def flush(self, timeout_seconds: float = 60.0) -> None: ...
