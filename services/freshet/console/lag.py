"""How far every worker is behind, partition by partition, and what stands still. Pure: the caller passes the time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from freshet.domain.progress import Progress

STALL_SECONDS = {"profiles": 5.0}
"""Records wait, and nothing was applied for so long: that is a stall. A batch of profiles takes milliseconds."""
BATCH_STALL_SECONDS = 10.0
"""The same for workers whose batches wait for encoders or for the index."""

Place: TypeAlias = tuple[str, int]
"""(topic, partition)"""


@dataclass(frozen=True, slots=True)
class Member:
    """Who owns a partition in its consumer group."""

    name: str
    host: str


@dataclass(frozen=True, slots=True)
class Topic:
    """What Kafka says of the partitions of one worker's topics, by place."""

    first: Mapping[Place, int]
    end: Mapping[Place, int]


@dataclass(frozen=True, slots=True)
class Row:
    """One partition as one worker sees it.

    `applied` is the offset after the last record that is in the database, `committed` what Kafka was told (None:
    nothing yet). `behind_seconds` is the age of the first record that waits; 0 when none does, None: unknown.
    `still_seconds` is how long nothing was applied while records waited.
    """

    worker: str
    topic: str
    partition: int
    applied: int
    committed: int | None
    end: int
    waiting: int
    behind_seconds: float | None
    still_seconds: float
    owner: Member | None

    @property
    def stalled(self) -> bool:
        return self.waiting > 0 and self.still_seconds >= STALL_SECONDS.get(self.worker, BATCH_STALL_SECONDS)


@dataclass(frozen=True, slots=True)
class Summary:
    """One worker, over all its partitions. `rate` is records applied per second.

    `stalled_unowned` is how many of the partitions that stand still belong to nobody in the consumer group.
    `still_seconds` is how long none of the partitions with work has moved.
    """

    worker: str
    waiting: int
    behind_seconds: float | None
    stalled_seconds: float
    stalled_waiting: int
    stalled_unowned: int
    still_seconds: float
    rate: float
    seconds_to_go: float | None


def first_waiting(applied: int, first: int, end: int) -> int | None:
    """Offset of the first record that is not applied and still there; None when there is none."""
    start = max(applied, first)
    return start if start < end else None


def behind(now_ms: int, timestamp_ms: int | None, waiting: int) -> float | None:
    """Seconds since the first waiting record was written."""
    if waiting == 0:
        return 0.0
    return None if timestamp_ms is None else max(0.0, (now_ms - timestamp_ms) / 1e3)


@dataclass(slots=True)
class Movement:
    """Remembers when each partition last moved. `now` is a monotonic clock's."""

    _seen: dict[tuple[str, str, int], tuple[int, float | None]] = field(default_factory=dict)

    def still_for(self, worker: str, place: Place, applied: int, waiting: int, now: float) -> float:
        """Seconds since this partition was first seen with work to do and no movement after."""
        key = (worker, *place)
        before, since = self._seen.get(key, (-1, None))
        if waiting == 0:
            since = None
        elif since is None or before != applied:
            since = now
        self._seen[key] = (applied, since)
        return 0.0 if since is None else now - since


def rows_of(
    worker: str,
    topic: Topic,
    progress: Mapping[Place, Progress],
    committed: Mapping[Place, int],
    owners: Mapping[Place, Member],
    timestamps_ms: Mapping[Place, int],
    movement: Movement,
    *,
    now_ms: int,
    now: float,
) -> list[Row]:
    """One row per partition, in order. `timestamps_ms` are those of the first waiting records."""
    rows = []
    for place, end in sorted(topic.end.items()):
        step = progress.get(place)
        applied = 0 if step is None else step.next_offset
        start = first_waiting(applied, topic.first.get(place, 0), end)
        waiting = 0 if start is None else end - start
        rows.append(
            Row(
                worker,
                place[0],
                place[1],
                applied,
                committed.get(place),
                end,
                waiting,
                behind(now_ms, timestamps_ms.get(place), waiting),
                movement.still_for(worker, place, applied, waiting, now),
                owners.get(place),
            )
        )
    return rows


def summary(worker: str, rows: Sequence[Row], rate: float, waiting_rate: float) -> Summary:
    """`rate` and `waiting_rate` are how fast records were applied, and how fast the waiting ones grew (per second)."""
    waiting = sum(row.waiting for row in rows)
    known = [row.behind_seconds for row in rows if row.behind_seconds is not None]
    stalled = [row for row in rows if row.stalled]
    return Summary(
        worker,
        waiting,
        max(known) if known else (None if waiting else 0.0),
        max((row.still_seconds for row in stalled), default=0.0),
        sum(row.waiting for row in stalled),
        sum(row.owner is None for row in stalled),
        min((row.still_seconds for row in rows if row.waiting), default=0.0),
        rate,
        waiting / -waiting_rate if waiting and waiting_rate < -0.5 else None,
    )
