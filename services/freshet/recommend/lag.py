"""How far a process's own reading of the catalogue is behind Kafka. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

KEPT_LOOKS = 1_000
"""Looks not caught up with that are remembered; of a longer lag the oldest are, so that its age stays right."""


@dataclass(frozen=True, slots=True)
class Lag:
    """`seconds`: since when the oldest record that was not read has been seen in Kafka; 0 where there is none."""

    records: int
    seconds: float


class ReadingLag:
    """Compares what has been read with where the partitions end. The age is right to the time between two looks."""

    def __init__(self) -> None:
        self._looks: list[tuple[float, Mapping[int, int]]] = []
        self._ends: Mapping[int, int] = {}

    def look(self, ends: Mapping[int, int], now: float) -> None:
        """By partition: the offset after the last record, as Kafka says at `now` (seconds)."""
        self._ends = ends
        if len(self._looks) < KEPT_LOOKS:
            self._looks.append((now, ends))

    def behind(self, positions: Mapping[int, int], now: float) -> Lag:
        """`positions`: by partition, the offset after the last record read."""
        self._looks = [(at, ends) for at, ends in self._looks if _missing(ends, positions)]
        seconds = max(0.0, now - self._looks[0][0]) if self._looks else 0.0
        return Lag(_missing(self._ends, positions), seconds)


def _missing(ends: Mapping[int, int], positions: Mapping[int, int]) -> int:
    return sum(max(0, end - positions.get(partition, 0)) for partition, end in ends.items())
