"""Records that could not be read or applied: written with their original bytes, listed, shown and replayed.

May import `codec`, `domain` and the Kafka adapter.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Protocol

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, TopicPartition
from prometheus_client import Counter

from freshet.adapters.kafka import Producer, bootstrap_servers
from freshet.codec import wire
from freshet.codec.events import timestamp
from freshet.domain.progress import Position
from freshet.errors import DependencyDown, ImageRejected, InvalidInput, NotFound, TooLarge, UnreadableRecord
from freshet.v1 import stream_pb2

REPLAY_OF = "freshet-replay-of"
"""The header of a replayed record: where its dead letter is, as topic/partition/offset."""

DEAD_LETTERS = Counter("freshet_dead_letters", "Records written to the dead-letter topic.", ["worker", "reason"])

Reason = stream_pb2.DeadLetter.Reason
REASONS = ("UNREADABLE", "INVALID", "IMAGE", "TOO_LARGE")


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


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter and its own place in Kafka."""

    position: Position
    message: stream_pb2.DeadLetter

    @property
    def name(self) -> str:
        """`partition/offset`, how the command line names a letter."""
        return f"{self.position.partition}/{self.position.offset}"

    @property
    def reason(self) -> str:
        return Reason.Name(self.message.reason)


def read_letters(kafka_url: str, topic: str, timeout_seconds: float = 10.0) -> Iterator[Letter]:
    """Every letter that is in the topic now, partition by partition, oldest first. Raises DependencyDown, NotFound."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap_servers(kafka_url),
            "group.id": "freshet-dead-letters-reader",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            # The next partition is not asked for before the broker has answered for the last, which has nothing more.
            "fetch.wait.max.ms": 10,
            "log_level": 0,
        }
    )
    try:
        listed = consumer.list_topics(topic, timeout=timeout_seconds).topics[topic]
        if listed.error is not None:
            raise NotFound(f"topic {topic!r} is not there; start the local stack or create the topics first")
        for partition in sorted(listed.partitions):
            low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=timeout_seconds)
            if high > low:
                consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING)])
                yield from _until(consumer, high, timeout_seconds)
    except KafkaException as error:
        raise DependencyDown("kafka", error.args[0].str()) from error
    finally:
        consumer.close()


def _until(consumer: Consumer, end: int, timeout_seconds: float) -> Iterator[Letter]:
    while True:
        message = consumer.poll(timeout_seconds)
        if message is None:
            raise DependencyDown("kafka", f"no record came within {timeout_seconds:g} s")
        if message.error() is not None:
            return  # the end of the partition
        position = _position(message)
        yield Letter(position, wire.decode(message.value(), None, stream_pb2.DeadLetter))
        if position.offset + 1 >= end:
            return


def replay(producer: Producer, letters: Sequence[Letter]) -> list[Position]:
    """Publish the original bytes, key, headers and time to where each letter came from, and return the new places.

    Returns when Kafka has confirmed all of them. Raises DependencyDown.
    """
    futures = []
    for letter in letters:
        message = letter.message
        headers = [(name, value) for name, value in message.headers.items() if name != REPLAY_OF]
        headers.append((REPLAY_OF, f"{letter.position.topic}/{letter.name}".encode()))
        # An event that does not say its time is as old as its record: replayed, it must not win over what came since.
        received_ms = message.received_at.ToMilliseconds() if message.HasField("received_at") else None
        futures.append(producer.publish(message.source.topic, message.key or None, message.value, headers, received_ms))
    producer.flush()
    return [future.result() for future in futures]


def _position(message: Any) -> Position:
    return Position(message.topic(), message.partition(), message.offset())
