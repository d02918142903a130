"""How far every worker is behind: what the store has applied, against the ends of the topics in Kafka."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from prometheus_client import Gauge

from freshet.adapters.kafka import topic_bounds
from freshet.domain.progress import Progress
from freshet.ports import ProgressStore
from freshet.settings import Settings, Topics

_LABELS = ["group", "topic", "partition"]
LAG_RECORDS = Gauge("freshet_consumer_lag_records", "Records in Kafka that this consumer has not applied.", _LABELS)
LAG_SECONDS = Gauge("freshet_consumer_lag_seconds", "Age of the oldest record not applied; 0 when none.", _LABELS)
APPLIED = Gauge("freshet_consumer_applied_offset", "Offset after the last applied record.", _LABELS)


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a worker is in a partition of its own. `oldest_ms` is when the oldest record in hand came to Kafka."""

    applied: int
    end: int
    oldest_ms: int | None


class LagGauges:
    """A consumer group's gauges for the partitions that this process has; those it has no more are taken away."""

    def __init__(self, group: str) -> None:
        self._group = group
        self._noticed: dict[tuple[str, int], tuple[int, float]] = {}
        """By place: where it stood when a lag was first noticed, and when; for records not fetched yet."""

    def set(self, standings: Mapping[tuple[str, int], Standing], now: float) -> None:
        """`now` is in seconds since the epoch."""
        for place in self._noticed.keys() - standings.keys():
            del self._noticed[place]
            for gauge in (LAG_RECORDS, LAG_SECONDS, APPLIED):
                gauge.remove(self._group, place[0], str(place[1]))
        for place, standing in standings.items():
            labels = (self._group, place[0], str(place[1]))
            LAG_RECORDS.labels(*labels).set(standing.end - standing.applied)
            LAG_SECONDS.labels(*labels).set(self._seconds(place, standing, now))
            APPLIED.labels(*labels).set(standing.applied)

    def _seconds(self, place: tuple[str, int], standing: Standing, now: float) -> float:
        applied, since = self._noticed.get(place, (-1, now))
        if standing.end <= standing.applied or applied != standing.applied:
            applied, since = standing.applied, now
        self._noticed[place] = (applied, since)
        if standing.end <= standing.applied:
            return 0.0
        return max(0.0, now - (since if standing.oldest_ms is None else standing.oldest_ms / 1e3))


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
    ends = topic_bounds(settings.kafka_url, worker_topics(settings.topics)[worker])
    return lag_of(worker, store.progress(worker), ends)
