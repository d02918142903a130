"""Dead letters as they lie in Kafka: read and replayed. May import `codec`, `domain`, the Kafka adapter and errors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, TopicPartition

from freshet.adapters.kafka import Producer, bootstrap_servers, topic_bounds
from freshet.codec import wire
from freshet.domain.progress import Position
from freshet.errors import DependencyDown, NotFound
from freshet.v1 import stream_pb2

REPLAY_OF = "freshet-replay-of"
"""The header of a replayed record: where its dead letter is, as topic/partition/offset."""

Reason = stream_pb2.DeadLetter.Reason
REASONS = ("UNREADABLE", "INVALID", "IMAGE", "TOO_LARGE")


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


def read_letters(
    kafka_url: str, topic: str, timeout_seconds: float = 10.0, *, newest: int | None = None
) -> Iterator[Letter]:
    """Every letter that is in the topic now, partition by partition, oldest first. Raises DependencyDown, NotFound.

    With `newest`, at most so many of the last ones of each partition.
    """
    bounds = _bounds(kafka_url, topic, timeout_seconds)
    with _consumer(kafka_url) as consumer:
        for partition, (low, high) in bounds.items():
            if high > low:
                start = OFFSET_BEGINNING if newest is None else max(low, high - newest)
                consumer.assign([TopicPartition(topic, partition, start)])
                yield from _until(consumer, high, timeout_seconds)


def read_letter(kafka_url: str, topic: str, name: str, timeout_seconds: float = 10.0) -> Letter:
    """One letter by its name, `partition/offset`. Raises NotFound, DependencyDown."""
    missing = NotFound(f"there is no dead letter {name!r}; `freshet dead-letters list` shows them")
    partition, _, offset = name.partition("/")
    if not all(part.isascii() and part.isdecimal() and len(part) < 19 for part in (partition, offset)):
        raise missing
    low, high = _bounds(kafka_url, topic, timeout_seconds).get(int(partition), (0, 0))
    if not low <= int(offset) < high:
        raise missing
    with _consumer(kafka_url) as consumer:
        consumer.assign([TopicPartition(topic, int(partition), int(offset))])
        letter = next(_until(consumer, int(offset) + 1, timeout_seconds), None)
    if letter is None or letter.name != name:
        raise missing
    return letter


@contextmanager
def _consumer(kafka_url: str) -> Iterator[Consumer]:
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
        yield consumer
    except KafkaException as error:
        raise DependencyDown("kafka", error.args[0].str()) from error
    finally:
        consumer.close()


def _bounds(kafka_url: str, topic: str, timeout_seconds: float) -> dict[int, tuple[int, int]]:
    """First and end offset by partition."""
    bounds = {number: bound for (_, number), bound in topic_bounds(kafka_url, [topic], timeout_seconds).items()}
    if not bounds:
        raise NotFound(f"topic {topic!r} is not there; start the local stack or create the topics first")
    return bounds


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
