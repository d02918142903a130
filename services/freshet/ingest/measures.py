"""The ingest process's Prometheus metrics. Imports domain alone."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Iterable

from prometheus_client import Counter, Gauge, Histogram

from freshet.domain.progress import Position

PUBLISHED = Counter("freshet_published_events", "Events that Kafka confirmed.", ["topic"])
REFUSED = Counter("freshet_refused_events", "Events that broke a rule of the contract.", ["method"])
PUBLISH_SECONDS = Histogram(
    "freshet_publish_seconds", "From a request's arrival until Kafka confirmed its events.", ["method"],
    buckets=[0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 2, 10],
)  # fmt: skip
UNCONFIRMED = Gauge("freshet_unconfirmed_bytes", "Bytes of events that wait for Kafka's confirmation.")


def count_published(positions: Iterable[Position]) -> None:
    for topic, count in Tally(position.topic for position in positions).items():
        PUBLISHED.labels(topic).inc(count)
