"""What topics, producer and reader have in common: the address, and librdkafka's errors and messages in our words."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from confluent_kafka import KafkaError, KafkaException

from freshet.domain.progress import Position
from freshet.errors import ConfigurationError, DependencyDown

RECORD_BYTES = 16 * 2**20
"""What topics and producers accept: above the workers' own limit, so that a worker can say what was too large."""


def bootstrap_servers(url: str) -> str:
    """`kafka://host:port,host:port` without its scheme. Raises ConfigurationError."""
    parts = urlsplit(url)
    if parts.scheme != "kafka" or not parts.netloc:
        raise ConfigurationError(f"kafka_url is {url!r}; kafka://HOST:PORT is needed")
    return parts.netloc


def dependency_down(error: KafkaError | KafkaException) -> DependencyDown:
    """What librdkafka calls it, as our error."""
    inner = error.args[0] if isinstance(error, KafkaException) else error
    return DependencyDown("kafka", inner.str() if isinstance(inner, KafkaError) else str(inner))


def position_of(message: Any) -> Position:
    return Position(message.topic(), message.partition(), message.offset())
