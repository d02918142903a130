"""Topics as an administrator sees them: made, looked over, and how far they reach."""

from __future__ import annotations

from collections.abc import Collection

from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import ConfigResource
from confluent_kafka.admin._listoffsets import OffsetSpec
from confluent_kafka.cimpl import NewTopic

from freshet.adapters.kafka.connection import RECORD_BYTES, bootstrap_servers, dependency_down
from freshet.errors import DependencyDown
from freshet.settings import Topics


def _admin(url: str) -> AdminClient:
    return AdminClient({"bootstrap.servers": bootstrap_servers(url), "socket.timeout.ms": 10_000, "log_level": 0})


def _wanted(topics: Topics) -> dict[str, dict[str, str]]:
    """The settings of each topic that are not Kafka's own."""
    for_ever = {"retention.ms": "-1", "max.message.bytes": str(RECORD_BYTES)}
    return {
        topics.products: for_ever,
        topics.reviews: for_ever,
        topics.interactions: for_ever,
        topics.representations: {"cleanup.policy": "compact", "max.message.bytes": str(RECORD_BYTES)},
        topics.exposures: {"retention.ms": str(30 * 86_400_000)},
        topics.dead_letters: {"retention.ms": str(90 * 86_400_000), "max.message.bytes": str(2 * RECORD_BYTES)},
    }


def topic_faults(url: str, topics: Topics, timeout_seconds: float = 5.0) -> list[str]:
    """What is wrong with the topics, one sentence each: missing ones, and settings that lose records.

    Raises DependencyDown.
    """
    admin, wanted, faults = _admin(url), _wanted(topics), []
    try:
        present = admin.list_topics(timeout=timeout_seconds).topics
        resources = [ConfigResource(ConfigResource.Type.TOPIC, name) for name in wanted if name in present]
        asked = admin.describe_configs(resources, request_timeout=timeout_seconds) if resources else {}
        configured = {resource.name: future.result() for resource, future in asked.items()}
    except KafkaException as error:
        raise dependency_down(error) from error
    for name, settings in wanted.items():
        if name not in configured:
            faults.append(f"topic {name} is missing")
            continue
        for key, value in settings.items():
            found = configured[name][key].value
            if found != value:
                faults.append(f"topic {name} has {key}={found}, {value} is needed")
    return faults


def ensure_topics(url: str, topics: Topics, timeout_seconds: float = 30.0) -> list[str]:
    """Create the topics that are missing and return their names. Topics that exist are left as they are.

    Products, reviews and interactions are kept for ever: everything else can be rebuilt from them.
    Raises DependencyDown.
    """
    admin = _admin(url)
    wanted = _wanted(topics)
    try:
        present = admin.list_topics(timeout=timeout_seconds).topics
        missing = [
            NewTopic(name, num_partitions=topics.partitions, replication_factor=topics.replication, config=config)
            for name, config in wanted.items()
            if name not in present
        ]
        if not missing:
            return []
        for future in admin.create_topics(missing, operation_timeout=timeout_seconds).values():
            try:
                future.result()
            except KafkaException as error:
                # Another process may have been quicker.
                if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise
    except KafkaException as error:
        raise dependency_down(error) from error
    return [topic.topic for topic in missing]


def topic_bounds(
    url: str, topics: Collection[str], timeout_seconds: float = 5.0
) -> dict[tuple[str, int], tuple[int, int]]:
    """First and end offset by (topic, partition); topics that are not there are left out. Raises DependencyDown.

    Asks as an administrator: a consumer's own question (`get_watermark_offsets`) stands behind its fetch that waits for
    records, and may wait for ever past its timeout (confluentinc/librdkafka#2588, #4878; seen with 2.16).
    """
    admin = _admin(url)
    try:
        present = admin.list_topics(timeout=timeout_seconds).topics
        places = [TopicPartition(name, n) for name in topics if name in present for n in present[name].partitions]
        if not places:
            return {}
        bounds = []
        for spec in (OffsetSpec.earliest(), OffsetSpec.latest()):  # type: ignore[no-untyped-call]
            asked = admin.list_offsets(dict.fromkeys(places, spec), request_timeout=timeout_seconds)
            bounds.append({(place.topic, place.partition): future.result().offset for place, future in asked.items()})
    except KafkaException as error:
        raise dependency_down(error) from error
    firsts, ends = bounds
    if min(firsts.values()) < 0 or min(ends.values()) < 0:
        raise DependencyDown("kafka", f"no answer within {timeout_seconds:g} s where its partitions end")
    return {place: (firsts[place], ends[place]) for place in sorted(ends)}
