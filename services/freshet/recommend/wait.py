"""Waiting until given Kafka records count in answers (`at_least`). May import `mirror`, `reads`, `domain`, `errors`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from freshet.domain.progress import Position, Progress
from freshet.errors import DependencyDown
from freshet.recommend.mirror import Mirror
from freshet.recommend.reads import Reads
from freshet.settings import Topics

POLL_SECONDS = 0.0005
RETRY_SECONDS = 0.05
SILENCE_SECONDS = 0.1
"""A change that the catalogue worker applied and that caused no representation within this time is looked up
by the end of the representations topic: it may have been a dead letter, or older than what was known."""

Ends: TypeAlias = Callable[[], Awaitable[Mapping[int, int]]]
"""The offset after the last record of each partition of the representations topic, as Kafka knows it now."""
_Applied: TypeAlias = Mapping[tuple[str, int], Progress]


@dataclass(eq=False)
class _Waiter:
    positions: list[Position]
    done: asyncio.Future[None]
    silent_since: float | None = None
    looking: asyncio.Task[Mapping[int, int]] | None = None
    ends: Mapping[int, int] | None = None


@dataclass
class _Known:
    """What a worker had applied when the store's counter stood there."""

    counter: int = -1
    applied: _Applied = field(default_factory=dict)


class AtLeast:
    """One poller for everybody who waits; it runs only while somebody does."""

    def __init__(self, reads: Reads, mirror: Mirror, topics: Topics, ends: Ends) -> None:
        self._reads, self._mirror, self._topics, self._ends = reads, mirror, topics, ends
        self._waiters: list[_Waiter] = []
        self._known = {"profiles": _Known(), "catalog": _Known()}
        self._poller: asyncio.Task[None] | None = None

    @property
    def topics(self) -> frozenset[str]:
        """Topics that a token may name."""
        names = self._topics
        return frozenset((names.interactions, names.products, names.reviews, names.representations))

    @property
    def waiting(self) -> int:
        """How many calls wait now."""
        return len(self._waiters)

    async def wait(self, positions: Sequence[Position], timeout_seconds: float) -> bool:
        """Whether these records were applied in time. Never raises for a store that is down: it is not in time."""
        loop = asyncio.get_running_loop()
        waiter = _Waiter(list(positions), loop.create_future())
        try:
            await self._look([waiter])
        except DependencyDown:
            pass
        else:
            if self._reached(waiter, loop.time()):
                return True
        self._waiters.append(waiter)
        if self._poller is None or self._poller.done():
            self._poller = loop.create_task(self._poll())
        try:
            async with asyncio.timeout(timeout_seconds):
                await waiter.done
            return True
        except TimeoutError:
            return False
        finally:
            self._waiters.remove(waiter)
            if waiter.looking is not None:
                waiter.looking.cancel()

    async def _poll(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiters:
            try:
                await self._look(self._waiters)
            except DependencyDown:
                await asyncio.sleep(RETRY_SECONDS)
                continue
            now = loop.time()
            for waiter in self._waiters:
                if not waiter.done.done() and self._reached(waiter, now):
                    waiter.done.set_result(None)
            await asyncio.sleep(POLL_SECONDS)

    async def progress(self, timeout_seconds: float) -> _Applied:
        """How far the profile worker is now. Raises DependencyDown."""
        await self._read("profiles", timeout_seconds)
        return self._known["profiles"].applied

    async def _look(self, waiters: Sequence[_Waiter]) -> None:
        """Read the progress that these wait for."""
        topics = {position.topic for waiter in waiters for position in waiter.positions}
        if self._topics.interactions in topics:
            await self._read("profiles", 1.0)
        if topics & {self._topics.products, self._topics.reviews}:
            await self._read("catalog", 1.0)

    async def _read(self, worker: str, timeout_seconds: float) -> None:
        """Read progress again, if anything was committed since. The counter is read first: a later commit shows."""
        store = self._reads.store
        counter = await self._reads.call(timeout_seconds, store.change_counter)
        if counter != self._known[worker].counter:
            applied = await self._reads.call(timeout_seconds, store.progress, worker)
            self._known[worker] = _Known(counter, applied)

    def _reached(self, waiter: _Waiter, now: float) -> bool:
        """Drops what is reached from the waiter's list; True when nothing is left."""
        waiter.positions = [
            position for position in waiter.positions if not self._position_reached(position, waiter, now)
        ]
        return not waiter.positions

    def _position_reached(self, position: Position, waiter: _Waiter, now: float) -> bool:
        topic, partition, offset = position.topic, position.partition, position.offset
        if topic == self._topics.representations:
            return self._mirror.positions.get(partition, 0) > offset
        if topic == self._topics.interactions:
            return _passed(self._known["profiles"].applied, topic, partition, offset)
        if self._mirror.sources.get((topic, partition), -1) >= offset:
            return True
        return _passed(self._known["catalog"].applied, topic, partition, offset) and self._nothing_to_come(waiter, now)

    def _nothing_to_come(self, waiter: _Waiter, now: float) -> bool:
        """The record was applied, and no representation names it or a later one: has everything written been read?"""
        if waiter.ends is not None:
            return all(self._mirror.positions.get(partition, 0) >= end for partition, end in waiter.ends.items())
        if waiter.silent_since is None:
            waiter.silent_since = now
        if waiter.looking is None:
            if now - waiter.silent_since >= SILENCE_SECONDS:
                waiter.looking = asyncio.get_running_loop().create_task(_ends(self._ends))
        elif waiter.looking.done():
            try:
                waiter.ends = waiter.looking.result()
            except DependencyDown:
                waiter.looking, waiter.silent_since = None, now
        return False


async def _ends(ends: Ends) -> Mapping[int, int]:
    return await ends()


def _passed(progress: _Applied, topic: str, partition: int, offset: int) -> bool:
    at = progress.get((topic, partition))
    return at is not None and at.next_offset > offset
