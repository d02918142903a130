"""Records as Kafka hands them to a worker, and the moment at which the tests of workers take place."""

from __future__ import annotations

from dataclasses import dataclass, field

NOW_US = 1_790_000_000_000_000


@dataclass
class Record:
    offset: int
    value: bytes | None
    key: bytes | None = b"k"
    headers: list[tuple[str, bytes]] = field(default_factory=list)
    timestamp: int = NOW_US // 1_000
