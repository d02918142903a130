"""Waiting until given Kafka records count in answers (`at_least`).

May import `measures`, `mirror`, `reads`, `domain`, `errors`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

from freshet.domain.progress import Position, Progress, Published
from freshet.errors import DependencyDown
from freshet.recommend.measures import stage
from freshet.recommend.mirror import Mirror
from freshet.recommend.reads import Reads
from freshet.settings import Topics

POLL_SECONDS = 0.0005
RETRY_SECONDS = 0.05
LOOK_SECONDS = 1.0

T = TypeVar("T")
_Applied: TypeAlias = Mapping[tuple[str, int], Progress]


@dataclass(eq=False)
class _Waiter:
    positions: list[Position]
    done: asyncio.Future[None]


@dataclass
class _Known(Generic[T]):
    """What the store held when its counter stood there."""

    value: T
    counter: int = -1


class AtLeast:
    """One poller for everybody who waits; it runs only while somebody does."""

    def __init__(self, reads: Reads, mirror: Mirror, topics: Topics) -> None:
        self._reads, self._mirror, self._topics = reads, mirror, topics
        self._waiters: list[_Waiter] = []
        self._applied: _Known[_Applied] = _Known({})
        self._published: _Known[Mapping[tuple[str, int], Published]] = _Known({})
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

    async def wait(self, positions: Sequence[Position], timeout_seconds: float) -> tuple[bool, float]:
        """Whether these records were applied in time, and the seconds that were waited.

        Never raises for a store that is down: it is not in time.
        """
        if not positions:
            return True, 0.0
        begun = time.monotonic()
        with stage("wait"):
            reached = await self._in_time(positions, timeout_seconds)
        return reached, time.monotonic() - begun

    async def _in_time(self, positions: Sequence[Position], timeout_seconds: float) -> bool:
        loop = asyncio.get_running_loop()
        waiter = _Waiter(list(positions), loop.create_future())
        try:
            await self._look([waiter])
        except DependencyDown:
            pass
        else:
            if self._reached(waiter):
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

    async def _poll(self) -> None:
        while self._waiters:
            try:
                await self._look(self._waiters)
            except DependencyDown:
                await asyncio.sleep(RETRY_SECONDS)
                continue
            for waiter in self._waiters:
                if not waiter.done.done() and self._reached(waiter):
                    waiter.done.set_result(None)
            await asyncio.sleep(POLL_SECONDS)

    async def progress(self, timeout_seconds: float) -> _Applied:
        """How far the profile worker is now. Raises DependencyDown."""
        await self._read(self._applied, lambda: self._reads.store.progress("profiles"), timeout_seconds)
        return self._applied.value

    async def _look(self, waiters: Sequence[_Waiter]) -> None:
        """Read how far the workers are that these wait for. Raises DependencyDown."""
        topics = {position.topic for waiter in waiters for position in waiter.positions}
        if self._topics.interactions in topics:
            await self.progress(LOOK_SECONDS)
        if topics & {self._topics.products, self._topics.reviews}:
            await self._read(self._published, self._reads.store.published, LOOK_SECONDS)

    async def _read(self, known: _Known[T], read: Callable[[], T], timeout_seconds: float) -> None:
        """Read again, if anything was committed since. The counter is read first: a later commit shows."""
        counter = await self._reads.call(timeout_seconds, self._reads.store.change_counter)
        if counter != known.counter:
            known.value = await self._reads.call(timeout_seconds, read)
            known.counter = counter

    def _reached(self, waiter: _Waiter) -> bool:
        """Leaves in the waiter's list what is still to come; True when nothing is."""
        waiter.positions = [left for position in waiter.positions for left in self._left(position)]
        return not waiter.positions

    def _left(self, position: Position) -> list[Position]:
        """What must still be applied or read for this record to count.

        A change of the catalogue counts once what came of it is read: as soon as the worker has published that, the
        record gives way to the places in the representations topic that the worker noted.
        """
        place = (position.topic, position.partition)
        if position.topic == self._topics.representations:
            return [] if self._read_up_to(position) else [position]
        if position.topic == self._topics.interactions:
            applied = self._applied.value.get(place)
            return [] if applied is not None and applied.next_offset > position.offset else [position]
        published = self._published.value.get(place)
        if published is None or published.next_offset <= position.offset:
            return [position]
        last = [Position(self._topics.representations, partition, end - 1) for partition, end in published.ends.items()]
        return [place for place in last if not self._read_up_to(place)]

    def _read_up_to(self, position: Position) -> bool:
        return self._mirror.positions.get(position.partition, 0) > position.offset
