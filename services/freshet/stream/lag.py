"""How far every worker is behind: what the store has applied, against the ends of the topics in Kafka."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from confluent_kafka import Consumer, KafkaException, TopicPartition

from freshet.adapters.kafka import bootstrap_servers
from freshet.domain.progress import Progress
from freshet.errors import DependencyDown
from freshet.ports import ProgressStore
from freshet.settings import Settings, Topics


@dataclass(frozen=True, slots=True)
class PartitionLag:
    """One partition as one worker sees it. `lag_records` counts what is in Kafka and not applied."""

    worker: str
    topic: str
    partition: int
    applied_offset: int
    end_offset: int
    lag_records: int
    event_time_us: int


def worker_topics(topics: Topics) -> dict[str, tuple[str, ...]]:
    """What each worker reads."""
    return topics.of_workers()


def read_ends(
    kafka_url: str, topics: Sequence[str], timeout_seconds: float = 5.0
) -> dict[tuple[str, int], tuple[int, int]]:
    """First and end offset by (topic, partition); topics that are not there are left out. Raises DependencyDown."""
    consumer = Consumer(
        {"bootstrap.servers": bootstrap_servers(kafka_url), "group.id": "freshet-lag-reader", "log_level": 0}
    )
    try:
        present = consumer.list_topics(timeout=timeout_seconds).topics
        return {
            (topic, number): consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=timeout_seconds)
            for topic in topics
            if topic in present
            for number in sorted(present[topic].partitions)
        }
    except KafkaException as error:
        raise DependencyDown("kafka", error.args[0].str()) from error
    finally:
        consumer.close()


def lag_of(
    worker: str, progress: Mapping[tuple[str, int], Progress], ends: Mapping[tuple[str, int], tuple[int, int]]
) -> list[PartitionLag]:
    """What is left to do, partition by partition. Pure."""
    rows = []
    for (topic, partition), (first, end) in ends.items():
        step = progress.get((topic, partition))
        applied = 0 if step is None else step.next_offset
        rows.append(
            PartitionLag(
                worker,
                topic,
                partition,
                applied,
                end,
                max(0, end - max(applied, first)),
                0 if step is None else step.event_time_us,
            )
        )
    return rows


def worker_status(settings: Settings, worker: str, store: ProgressStore) -> list[PartitionLag]:
    """One worker's lag. Raises DependencyDown when Kafka or the database is away."""
    ends = read_ends(settings.kafka_url, worker_topics(settings.topics)[worker])
    return lag_of(worker, store.progress(worker), ends)
