"""Records that could not be read or applied, written with their original bytes. May import `adapters` and below.

Reading and replaying them is freshet.adapters.dead_letters.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Protocol

import structlog
from prometheus_client import Counter

from freshet.adapters.dead_letters import REASONS, REPLAY_OF, Letter, Reason, read_letters, replay
from freshet.adapters.kafka import Producer
from freshet.codec import wire
from freshet.codec.events import timestamp
from freshet.domain.progress import Position
from freshet.errors import ImageRejected, InvalidInput, TooLarge, UnreadableRecord
from freshet.v1 import stream_pb2

__all__ = ["REASONS", "REPLAY_OF", "DeadLetters", "Letter", "Source", "read_letters", "reason_of", "replay"]

log = structlog.get_logger()

_NAMES = {"profiles": "user_id"}
"""What a worker's records are keyed by, where it is not product_id."""

DEAD_LETTERS = Counter("freshet_dead_letters", "Records written to the dead-letter topic.", ["worker", "reason"])


class Source(Protocol):
    """What a dead letter keeps of a record."""

    @property
    def key(self) -> bytes | None: ...

    @property
    def value(self) -> bytes | None: ...

    @property
    def headers(self) -> Sequence[tuple[str, bytes | None]]: ...

    @property
    def offset(self) -> int: ...

    @property
    def timestamp(self) -> int: ...


class DeadLetters:
    """Writes dead letters. One is written when `send` returns, so that its record may be acknowledged."""

    def __init__(self, producer: Producer, topic: str) -> None:
        self._producer, self._topic = producer, topic

    async def send(self, reason: int, detail: str, record: Source, topic: str, partition: int, worker: str) -> Position:
        """Returns the letter's own place. Raises DependencyDown when Kafka does not confirm."""
        letter = stream_pb2.DeadLetter(
            reason=reason,  # type: ignore[arg-type]
            detail=detail,
            source=stream_pb2.Position(topic=topic, partition=partition, offset=record.offset),
            key=record.key or b"",
            value=record.value or b"",
            headers={name: value or b"" for name, value in record.headers or ()},
            worker=worker,
            failed_at=timestamp(time.time_ns() // 1_000),
            received_at=timestamp(record.timestamp * 1_000),
        )
        headers = [("content-type", wire.PROTOBUF.encode())]
        future: Future[Position] = await asyncio.to_thread(
            self._producer.publish, self._topic, record.key, letter.SerializeToString(), headers
        )
        position = await asyncio.wrap_future(future)
        DEAD_LETTERS.labels(worker, Reason.Name(reason)).inc()
        # Without `detail`: it may quote what a stranger sent.
        log.info(
            "put aside",
            reason=Reason.Name(reason),
            letter=f"{position.partition}/{position.offset}",
            source=f"{topic}/{partition}/{record.offset}",
            **{_NAMES.get(worker, "product_id"): (record.key or b"").decode("utf-8", "backslashreplace")[:256]},
        )
        return position


def reason_of(error: InvalidInput) -> int:
    """The reason that a dead letter gives for this error."""
    if isinstance(error, UnreadableRecord):
        return stream_pb2.DeadLetter.UNREADABLE
    if isinstance(error, TooLarge):
        return stream_pb2.DeadLetter.TOO_LARGE
    if isinstance(error, ImageRejected):
        return stream_pb2.DeadLetter.IMAGE
    return stream_pb2.DeadLetter.INVALID
