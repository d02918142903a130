"""What answers showed, on its way to Kafka. An answer never waits for it. May import the contract."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Protocol

from prometheus_client import Counter

from freshet.codec.events import timestamp
from freshet.codec.wire import PROTOBUF
from freshet.domain.progress import Position
from freshet.v1 import stream_pb2

PUBLISHED = Counter("freshet_exposures_published_total", "Exposures confirmed by Kafka.")
DROPPED = Counter("freshet_exposures_dropped_total", "Exposures lost because Kafka was away or slow.")
_HEADERS = [("content-type", PROTOBUF.encode())]


class Publisher(Protocol):
    """freshet.adapters.kafka.Producer is one."""

    def publish(
        self, topic: str, key: str | bytes | None, value: bytes | None, headers: Sequence[tuple[str, bytes | None]]
    ) -> Future[Position]: ...


def new_attribution_token() -> str:
    return secrets.token_urlsafe(15)


class Exposures:
    """Publishes exposures; holds at most `limit` unconfirmed ones, and drops and counts what is beyond."""

    def __init__(self, publisher: Publisher, topic: str, limit: int = 10_000) -> None:
        self._publisher, self._topic, self._limit = publisher, topic, limit
        self.unconfirmed = 0
        self._lock = threading.Lock()
        self.dropped = 0

    def record(
        self,
        *,
        attribution_token: str,
        user_id: str,
        session_id: str,
        shown: Sequence[tuple[str, float]],
        first_rank: int,
        model_version: str,
        time_us: int,
        degraded: bool,
    ) -> None:
        """`shown` are (product_id, score) in order. The policy is deterministic: every propensity is 1."""
        if self.unconfirmed >= self._limit:
            self._drop()
            return
        exposure = stream_pb2.Exposure(
            attribution_token=attribution_token,
            user_id=user_id,
            session_id=session_id,
            items=[
                stream_pb2.Exposure.Item(product_id=product_id, rank=first_rank + i, score=score, propensity=1.0)
                for i, (product_id, score) in enumerate(shown)
            ],
            model_version=model_version,
            event_time=timestamp(time_us),
            degraded=degraded,
        )
        with self._lock:
            self.unconfirmed += 1
        future = self._publisher.publish(self._topic, user_id, exposure.SerializeToString(), _HEADERS)
        future.add_done_callback(self._confirmed)

    def _confirmed(self, future: Future[Position]) -> None:
        # Runs in the producer's thread.
        with self._lock:
            self.unconfirmed -= 1
        if future.exception() is None:
            PUBLISHED.inc()
        else:
            self._drop()

    def _drop(self) -> None:
        self.dropped += 1
        DROPPED.inc()
