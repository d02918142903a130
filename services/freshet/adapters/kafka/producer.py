"""Publishing: where every record landed, or why it did not."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka import Producer as ConfluentProducer

from freshet.adapters.kafka.connection import RECORD_BYTES, bootstrap_servers, dependency_down, position_of
from freshet.domain.progress import Position
from freshet.errors import DependencyDown, FreshetError, TooLarge


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
            raise dependency_down(error) from error

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
    return dependency_down(error)


def _resolve(future: Future[Position]) -> Callable[[KafkaError | None, Any], None]:
    def delivered(error: KafkaError | None, message: Any) -> None:
        if error is not None:
            future.set_exception(_publish_error(error))
        else:
            future.set_result(position_of(message))

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
