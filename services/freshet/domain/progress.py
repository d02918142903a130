"""How far a worker has come in each partition. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A record's place in Kafka."""

    topic: str
    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class Progress:
    """Records of a partition below `next_offset` are applied; `event_time_us` is the newest event time among them."""

    topic: str
    partition: int
    next_offset: int
    event_time_us: int = 0


@dataclass(frozen=True, slots=True)
class Published:
    """What records of a partition below `next_offset` changed has been published, if they changed anything.

    It lies below `ends` in the representations topic, by that topic's partition.
    """

    next_offset: int
    ends: Mapping[int, int]

    def joined(self, other: Published) -> Published:
        """Both: the later offset, and everything that either needs."""
        ends = {
            partition: max(self.ends.get(partition, 0), other.ends.get(partition, 0))
            for partition in self.ends.keys() | other.ends.keys()
        }
        return Published(max(self.next_offset, other.next_offset), ends)


@dataclass(frozen=True, slots=True)
class Advance:
    """A step of one partition, written in the transaction that holds its effects (invariant 2).

    `from_offset` is the worker's own idea of where the partition stood; when the store knows otherwise,
    another worker has taken over, and the transaction fails with ProgressConflict.
    """

    topic: str
    partition: int
    from_offset: int
    next_offset: int
    event_time_us: int
