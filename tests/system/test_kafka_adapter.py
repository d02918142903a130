"""The Kafka adapter against a real broker: where records land, what is refused, and reading whole topics."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest
from aiokafka.partitioner import murmur2
from topics import NAMES, own_topics

from freshet.adapters.kafka import (
    RECORD_BYTES,
    Outgoing,
    Producer,
    Reader,
    ReadRecord,
    bootstrap_servers,
    ensure_topics,
    topic_bounds,
)
from freshet.errors import ConfigurationError, DependencyDown, TooLarge
from freshet.settings import Topics

pytestmark = pytest.mark.stack


@pytest.fixture
def topics(kafka: str) -> Topics:
    topics = own_topics(4)
    assert sorted(ensure_topics(kafka, topics)) == sorted(getattr(topics, name) for name in NAMES)
    return topics


def test_topics_that_exist_are_left_alone(kafka: str, topics: Topics) -> None:
    assert ensure_topics(kafka, topics) == []


def test_a_record_lands_where_other_clients_expect_its_key(kafka: str, topics: Topics) -> None:
    producer = Producer(kafka)
    futures = {key: producer.publish(topics.interactions, key, b"x") for key in (f"user-{i}" for i in range(50))}
    for key, future in futures.items():
        position = future.result(timeout=60)
        assert position.partition == (murmur2(key.encode()) & 0x7FFFFFFF) % 4
        assert position.topic == topics.interactions
    producer.close()


def test_a_record_that_is_too_large_is_named_so(kafka: str, topics: Topics) -> None:
    producer = Producer(kafka)
    with pytest.raises(TooLarge, match="16 MiB"):
        producer.publish(topics.products, "p", b"x" * (RECORD_BYTES + 1_000)).result(timeout=60)
    producer.close()


def test_records_published_together_are_confirmed_together_and_keep_their_order(kafka: str, topics: Topics) -> None:
    producer = Producer(kafka)
    records = [Outgoing(f"k{i % 7}", str(i).encode(), [("n", str(i).encode())]) for i in range(3_000)]
    ends = producer.publish_all(topics.products, records).result(timeout=60)
    assert ends == {place: end for (_, place), (_, end) in topic_bounds(kafka, [topics.products]).items() if end}
    assert sum(ends.values()) == 3_000
    assert producer.publish_all(topics.products, []).result(timeout=60) == {}
    seen: list[ReadRecord] = []
    whole = threading.Event()

    def deliver(read: Sequence[ReadRecord]) -> None:
        seen.extend(read)
        if len(seen) == 3_000:
            whole.set()

    reader = Reader(kafka, topics.products, deliver)
    reader.start()
    assert whole.wait(60)
    reader.stop()
    producer.close()
    for key in {record.key for record in seen}:
        numbers = [int(record.value or b"") for record in seen if record.key == key]
        assert numbers == sorted(numbers)
    assert all(list(record.headers) == [("n", record.value)] for record in seen)


def test_records_published_together_fail_together(kafka: str, topics: Topics) -> None:
    producer = Producer(kafka)
    with pytest.raises(TooLarge, match="16 MiB"):
        producer.publish_all(
            topics.products, [Outgoing("a", b"x", []), Outgoing("p", b"x" * (RECORD_BYTES + 1_000), [])]
        ).result(timeout=60)
    producer.close()
    away = Producer("kafka://127.0.0.1:1", delivery_seconds=1.0)
    future = away.publish_all("t", [Outgoing("k", b"x", [])] * 3)
    assert not future.cancel(), "what is queued cannot be taken back"
    with pytest.raises(DependencyDown, match="kafka is not available"):
        future.result(timeout=60)
    away.close()


def test_a_broker_that_is_away_is_a_dependency_that_is_down() -> None:
    producer = Producer("kafka://127.0.0.1:1", delivery_seconds=1.0)
    with pytest.raises(DependencyDown, match="kafka is not available"):
        producer.publish("t", "k", b"x").result(timeout=60)
    producer.close()


def test_an_address_without_its_scheme_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="kafka://HOST:PORT"):
        bootstrap_servers("localhost:9092")


def test_a_reader_sees_the_whole_topic_and_knows_when_it_has_caught_up(kafka: str, topics: Topics) -> None:
    producer = Producer(kafka, linger_ms=5)
    for i in range(5_000):
        producer.publish(topics.representations, f"p{i}", str(i).encode(), [("n", b"1")])
    producer.publish(topics.representations, "p1", None)
    producer.flush()
    seen: list[ReadRecord] = []
    enough = threading.Event()

    def deliver(records: Sequence[ReadRecord]) -> None:
        seen.extend(records)
        if len(seen) in (5_001, 5_002):
            enough.set()

    reader = Reader(kafka, topics.representations, deliver)
    reader.start()
    assert sum(reader.end.values()) == 5_001
    assert enough.wait(60)
    assert [r for r in seen if r.key == b"p1"][-1].value is None
    enough.clear()
    place = producer.publish(topics.representations, "new", b"!").result(timeout=60)
    assert enough.wait(60), "what comes later is read too"
    assert seen[-1].position == place
    reader.stop()
    producer.close()


def test_where_topics_begin_and_end_is_told_while_a_reader_waits_for_more(kafka: str, topics: Topics) -> None:
    producer = Producer(kafka)
    place = producer.publish(topics.representations, "p", b"x").result(timeout=60)
    read = threading.Event()
    reader = Reader(kafka, topics.representations, lambda _: read.set())
    reader.start()
    assert read.wait(60)
    for _ in range(20):
        bounds = topic_bounds(kafka, [topics.representations, "no-such-topic"])
        assert bounds == {(topics.representations, n): (0, int(n == place.partition)) for n in range(topics.partitions)}
    assert topic_bounds(kafka, ["no-such-topic"]) == {}
    reader.stop()
    producer.close()


def test_a_broker_that_is_away_has_no_ends() -> None:
    with pytest.raises(DependencyDown, match="kafka"):
        topic_bounds("kafka://127.0.0.1:1", ["t"], timeout_seconds=0.5)
