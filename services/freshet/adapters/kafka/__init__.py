"""Kafka through confluent-kafka: topics, the producer, and a reader of whole topics."""

from __future__ import annotations

from freshet.adapters.kafka.connection import RECORD_BYTES, bootstrap_servers
from freshet.adapters.kafka.producer import Outgoing, Producer
from freshet.adapters.kafka.reader import Reader, ReadRecord
from freshet.adapters.kafka.topics import ensure_topics, topic_bounds, topic_faults

__all__ = [
    "RECORD_BYTES",
    "Outgoing",
    "Producer",
    "ReadRecord",
    "Reader",
    "bootstrap_servers",
    "ensure_topics",
    "topic_bounds",
    "topic_faults",
]
