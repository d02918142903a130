"""Kafka through confluent-kafka: topics, the producer, and a reader of whole topics."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    TopicPartition,
)
from confluent_kafka import Producer as ConfluentProducer
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import ConfigResource
from confluent_kafka.admin._listoffsets import OffsetSpec
from confluent_kafka.cimpl import NewTopic

from freshet.domain.progress import Position
from freshet.errors import ConfigurationError, DependencyDown, FreshetError, TooLarge
from freshet.settings import Topics

RECORD_BYTES = 16 * 2**20
"""What topics and producers accept: above the workers' own limit, so that a worker can say what was too large."""


def bootstrap_servers(url: str) -> str:
    """`kafka://host:port,host:port` without its scheme. Raises ConfigurationError."""
    parts = urlsplit(url)
    if parts.scheme != "kafka" or not parts.netloc:
        raise ConfigurationError(f"kafka_url is {url!r}; kafka://HOST:PORT is needed")
    return parts.netloc


def _dependency_down(error: KafkaError | KafkaException) -> DependencyDown:
    inner = error.args[0] if isinstance(error, KafkaException) else error
    return DependencyDown("kafka", inner.str() if isinstance(inner, KafkaError) else str(inner))


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
        raise _dependency_down(error) from error
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
        raise _dependency_down(error) from error
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
        raise _dependency_down(error) from error
    firsts, ends = bounds
    if min(firsts.values()) < 0 or min(ends.values()) < 0:
        raise DependencyDown("kafka", f"no answer within {timeout_seconds:g} s where its partitions end")
    return {place: (firsts[place], ends[place]) for place in sorted(ends)}


class Outgoing(NamedTuple):
    """A record to publish."""

    key: str | bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]


class Producer:
    """Publishes records idempotently and tells where each one landed.

    One background thread serves delivery reports. Keys land where Java's and aiokafka's partitioner puts them.
    """

    def __init__(self, url: str, *, linger_ms: float = 0.0, delivery_seconds: float = 120.0) -> None:
        self._settings: dict[str, Any] = {
            "bootstrap.servers": bootstrap_servers(url),
            "enable.idempotence": True,
            "acks": "all",
            "partitioner": "murmur2_random",
            "linger.ms": linger_ms,
            "compression.type": "none" if linger_ms == 0 else "zstd",
            "message.max.bytes": 2 * RECORD_BYTES,
            "delivery.timeout.ms": int(delivery_seconds * 1000),
            "queue.buffering.max.kbytes": 256 * 1024,
            "socket.nagle.disable": True,
            "log_level": 0,
        }
        self._producer: ConfluentProducer | None = None
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._closing = threading.Event()

    def publish(
        self,
        topic: str,
        key: str | bytes | None,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes | None]] | Mapping[str, bytes] | None = None,
        timestamp_ms: int | None = None,
    ) -> Future[Position]:
        """Queue one record. The future holds its place once Kafka has confirmed it.

        Waits while the queue is full. The future raises DependencyDown, or TooLarge.
        """
        future: Future[Position] = Future()
        listed: Any = list(headers.items() if isinstance(headers, Mapping) else headers or ())
        options: dict[str, Any] = {} if timestamp_ms is None else {"timestamp": timestamp_ms}
        try:
            self._produce(topic, key, value, listed, _resolve(future), **options)
        except KafkaException as error:
            future.set_exception(_publish_error(error.args[0]))
        return future

    def publish_all(self, topic: str, records: Sequence[Outgoing]) -> Future[dict[int, int]]:
        """Queue records, in order. The future holds, once Kafka has confirmed them all, the offset after the last one
        by partition.

        One future for all costs a fifth of one each. Waits while the queue is full. The future raises DependencyDown,
        or TooLarge, at the first record that fails; others may have been written.
        """
        deliveries = _Deliveries(len(records))
        try:
            for key, value, headers in records:
                self._produce(topic, key, value, headers, deliveries.delivered)
        except KafkaException as error:
            deliveries.failed(error.args[0])
        return deliveries.future

    def _produce(self, topic: str, key: Any, value: bytes | None, headers: Any, report: Any, **options: Any) -> None:
        """Raises KafkaException."""
        producer = self._started()
        while True:
            try:
                producer.produce(topic, value, key, headers=headers, on_delivery=report, **options)
                return
            except BufferError:
                producer.poll(0.05)

    def connect(self, topic: str, timeout_seconds: float = 10.0) -> None:
        """Be ready to publish to `topic`. Raises DependencyDown."""
        try:
            self._started().list_topics(topic, timeout=timeout_seconds)
        except KafkaException as error:
            raise _dependency_down(error) from error

    def flush(self, timeout_seconds: float = 60.0) -> None:
        """Wait until every queued record is confirmed. Raises DependencyDown when time runs out."""
        if self._producer is not None and (left := self._producer.flush(timeout_seconds)):
            raise DependencyDown("kafka", f"{left} records were not confirmed within {timeout_seconds:g} s")

    def close(self) -> None:
        """Flush for a few seconds, and stop the thread."""
        if self._producer is None:
            return
        self._producer.flush(5.0)
        self._closing.set()
        if self._thread is not None:
            self._thread.join()

    def _started(self) -> ConfluentProducer:
        if self._producer is None:
            with self._lock:
                if self._producer is None:
                    producer = ConfluentProducer(self._settings)
                    self._thread = threading.Thread(
                        target=self._serve, args=(producer,), name="kafka-delivery", daemon=True
                    )
                    self._thread.start()
                    self._producer = producer
        return self._producer

    def _serve(self, producer: ConfluentProducer) -> None:
        while not self._closing.is_set():
            producer.poll(0.2)


def _publish_error(error: KafkaError) -> FreshetError:
    if error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
        return TooLarge("", f"the record is larger than {RECORD_BYTES // 2**20} MiB")
    return _dependency_down(error)


def _resolve(future: Future[Position]) -> Callable[[KafkaError | None, Any], None]:
    def delivered(error: KafkaError | None, message: Any) -> None:
        if error is not None:
            future.set_exception(_publish_error(error))
        else:
            future.set_result(_position(message))

    return delivered


class _Deliveries:
    """Counts the confirmations of records that were queued together. Reports come from any thread.

    Who waits cannot cancel the future, for nobody can take back what is queued.
    """

    def __init__(self, records: int) -> None:
        self.future: Future[dict[int, int]] = Future()
        self._left, self._ends, self._lock = records, dict[int, int](), threading.Lock()
        self.future.set_running_or_notify_cancel()
        if not records:
            self.future.set_result({})

    def delivered(self, error: KafkaError | None, message: Any) -> None:
        if error is not None:
            self.failed(error)
            return
        partition, end = message.partition(), message.offset() + 1
        with self._lock:
            if end > self._ends.get(partition, 0):
                self._ends[partition] = end
            self._left -= 1
            if self._left == 0:
                self.future.set_result(self._ends)

    def failed(self, error: KafkaError) -> None:
        with self._lock:
            if not self.future.done():
                self.future.set_exception(_publish_error(error))


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
            raise _dependency_down(error) from error
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
                            self._failed(_dependency_down(error))
                        continue
                    records.append(_record(message))
                if records:
                    self._deliver(records)
        finally:
            with suppress(KafkaException):
                consumer.close()


def _position(message: Any) -> Position:
    return Position(message.topic(), message.partition(), message.offset())


def _record(message: Any) -> ReadRecord:
    return ReadRecord(
        _position(message),
        message.key(),
        message.value(),
        message.headers() or (),
        message.timestamp()[1],
    )
