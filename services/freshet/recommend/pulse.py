"""What a process looks up a few times a second instead of once a request: demand, and how far the index has come.

May import `mirror`, `reads`, `under_way`, `domain`, `errors`.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import deque
from dataclasses import dataclass, field

import numpy as np
import structlog
from numpy.typing import NDArray

from freshet.errors import DependencyDown
from freshet.recommend.mirror import Mirror
from freshet.recommend.reads import Reads
from freshet.recommend.under_way import UnderWay

EVERY_SECONDS = 0.25
TRENDS_EVERY = 4
"""Trends move slowly: they are read with every fourth look."""
TRENDING_PRODUCTS = 500
CHOSEN_PAGE = 1_000
"""With each look the next so many products that anybody has chosen are read: all of 100,000 within 25 s. An embedded
store is read where answers are given, and a longer read would hold them up."""
GRACE_SECONDS = 3.0
"""How long after the index worker wrote a vector a search may not show it yet."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Demand:
    """Trending products by number, highest first; shares of the most wanted one's demand, in (0, 1]."""

    numbers: NDArray[np.uint32] = field(default_factory=lambda: np.empty(0, np.uint32))
    shares: NDArray[np.float32] = field(default_factory=lambda: np.empty(0, np.float32))

    def by_row(self, mirror: Mirror) -> tuple[NDArray[np.intp], NDArray[np.float32] | None]:
        """Rows in order of demand, and demand of every row (rows of the mirror,); None when nothing trends."""
        rows = mirror.rows_of(self.numbers)
        known = rows >= 0
        if not known.any():
            return np.empty(0, np.intp), None
        demand = np.zeros(mirror.count, np.float32)
        demand[rows[known]] = self.shares[known]
        return rows[known], demand


class Pulse:
    """Refreshes in the background; keeps the last it knew when the store is down."""

    def __init__(self, reads: Reads, mirror: Mirror, under_way: UnderWay) -> None:
        self._reads, self._mirror, self._under_way = reads, mirror, under_way
        self._shown: deque[tuple[float, dict[int, int]]] = deque()
        self.demand = Demand()
        self.indexed: dict[int, int] = {}
        """By partition of freshet.representations.v1: the offset below which the index shows everything."""
        self._chosen: NDArray[np.int64] | None = None
        self._chosen_after = -1
        """Up to this number the round that is under way has read them."""
        self.down: str | None = None
        """Why the last refresh failed, or None."""

    def tried(self, numbers: NDArray[np.integer]) -> NDArray[np.bool_]:
        """Which of these products anybody has chosen, as of seconds ago; all, while that is unknown."""
        if self._chosen is None:
            return np.ones(len(numbers), np.bool_)
        at = np.searchsorted(self._chosen, numbers)
        found: NDArray[np.bool_] = np.append(self._chosen, -1)[at] == numbers
        return found

    async def run(self) -> None:
        """Until cancelled."""
        for look in itertools.count():
            await self._under_way.none()
            await self.refresh(time.monotonic(), trends=look % TRENDS_EVERY == 0)
            await asyncio.sleep(EVERY_SECONDS)

    async def refresh(self, now: float, *, trends: bool = True) -> None:
        """One look. `now` is in monotonic seconds."""
        store = self._reads.store
        try:
            if trends or self.down is not None:
                self.demand = _demand(await self._reads.call(2.0, store.trending, TRENDING_PRODUCTS))
            applied = await self._reads.call(2.0, store.progress, "index")
            await self._read_chosen()
        except DependencyDown as error:
            if self.down is None:
                log.warning("store is down; serving the last known trends", detail=error.detail)
            self.down = str(error)
            return
        if self.down is not None:
            log.info("store is back")
        self.down = None
        self._settle(now, {p: at.next_offset for (topic, p), at in applied.items() if topic == self._mirror.topic})

    async def _read_chosen(self) -> None:
        """The next page; at first all of them, before anything is said of any. Raises DependencyDown."""
        if self._chosen is not None:
            page = await self._page_of_chosen(self._chosen_after)
            self._chosen, self._chosen_after = _renewed(self._chosen, self._chosen_after, page)
            return
        pages = [await self._page_of_chosen(-1)]
        while len(pages[-1]) == CHOSEN_PAGE:
            await asyncio.sleep(0)
            pages.append(await self._page_of_chosen(int(pages[-1][-1])))
        self._chosen = np.concatenate(pages)

    async def _page_of_chosen(self, after: int) -> NDArray[np.int64]:
        return await self._reads.call(2.0, self._reads.store.chosen, after, CHOSEN_PAGE)

    def _settle(self, now: float, applied: dict[int, int]) -> None:
        if not self._shown:
            # What the index had applied before this process began has been visible for longer than the grace.
            self._shown.append((now - GRACE_SECONDS, applied))
        elif applied != self._shown[-1][1]:
            self._shown.append((now, applied))
        while len(self._shown) > 1 and self._shown[1][0] <= now - GRACE_SECONDS:
            self._shown.popleft()
        if self._shown[0][0] <= now - GRACE_SECONDS:
            self.indexed = self._shown[0][1]
            self._mirror.settle(self.indexed)


def _demand(trending: list[tuple[int, float]]) -> Demand:
    if not trending:
        return Demand()
    numbers, trends = zip(*trending, strict=True)
    heights = np.array(trends, dtype=np.float64)
    return Demand(np.array(numbers, dtype=np.uint32), np.exp2(heights - heights.max()).astype(np.float32))


def _renewed(known: NDArray[np.int64], after: int, page: NDArray[np.int64]) -> tuple[NDArray[np.int64], int]:
    """`known` (ascending) as a page read after this number has it, and after which number the next page begins."""
    below = known[: np.searchsorted(known, after, side="right")]
    if len(page) < CHOSEN_PAGE:
        return np.concatenate([below, page]), -1
    last = int(page[-1])
    return np.concatenate([below, page, known[np.searchsorted(known, last, side="right") :]]), last
