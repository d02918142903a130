"""Co-visits of a shopper's products, from stored behaviour to pairs of rows. May import `domain`, `mirror`, `reads`."""

from __future__ import annotations

import time
from heapq import nlargest

import numpy as np
from numpy.typing import NDArray

from freshet.domain import covisits
from freshet.recommend.mirror import Mirror
from freshet.recommend.rank import CoVisits
from freshet.recommend.reads import Reads

TOUCHES = 12
"""Co-visits are read of this many of the products touched last."""
NEIGHBOURS = 32
USERS_KEPT_SECONDS = 60.0
"""How old a neighbour's count of users may be: it moves slowly, and only scales a cosine."""
USERS_KEPT_MOST = 500_000


class BehaviourReader:
    """Reads co-visits; remembers how many users each neighbour has."""

    def __init__(self, reads: Reads, mirror: Mirror, half_life_us: int) -> None:
        self._reads, self._mirror, self._half_life_us = reads, mirror, half_life_us
        self._users: dict[int, tuple[covisits.Behaviour, float]] = {}

    async def read(self, rows: NDArray[np.intp], now_us: int, timeout_seconds: float) -> CoVisits:
        """Co-visits of the first TOUCHES of these rows. Raises DependencyDown."""
        numbers = self._mirror.numbers[rows[:TOUCHES]].tolist()
        if not numbers:
            return CoVisits()
        deadline = time.monotonic() + timeout_seconds
        store = self._reads.store
        stored = await self._reads.call(timeout_seconds, store.behaviour, numbers)
        mine = {number: covisits.decode(data) for number, data in stored.items()}
        strongest = {number: _strongest(behaviour) for number, behaviour in mine.items()}
        wanted = {neighbour for neighbours in strongest.values() for neighbour in neighbours}
        await self._learn_users(wanted - mine.keys(), deadline)
        users = {n: covisits.users_at(b, now_us, self._half_life_us) for n in wanted if (b := self._known(n, mine))}
        touches: list[int] = []
        neighbours: list[int] = []
        cosines: list[float] = []
        for i, number in enumerate(numbers):
            if number not in mine:
                continue
            of_these = {n: users[n] for n in strongest[number] if n in users}
            similar = covisits.cosine(mine[number], of_these, now_us, self._half_life_us)
            touches.extend([i] * len(similar))
            neighbours.extend(similar)
            cosines.extend(similar.values())
        found = self._mirror.rows_of(np.array(neighbours, dtype=np.int64))
        known = found >= 0
        return CoVisits(np.array(touches, np.intp)[known], found[known], np.array(cosines, np.float32)[known])

    def _known(self, number: int, mine: dict[int, covisits.Behaviour]) -> covisits.Behaviour | None:
        if number in mine:
            return mine[number]
        kept = self._users.get(number)
        return kept[0] if kept else None

    async def _learn_users(self, numbers: set[int], deadline: float) -> None:
        now = time.monotonic()
        old = now - USERS_KEPT_SECONDS
        missing = [n for n in numbers if (kept := self._users.get(n)) is None or kept[1] < old]
        if not missing:
            return
        stored = await self._reads.call(deadline - now, self._reads.store.behaviour, missing)
        if len(self._users) > USERS_KEPT_MOST:
            self._users.clear()
        for number, data in stored.items():
            behaviour = covisits.decode(data)
            behaviour.neighbours = {}
            self._users[number] = (behaviour, now)


def _strongest(behaviour: covisits.Behaviour) -> list[int]:
    counts = behaviour.neighbours
    return list(counts) if len(counts) <= NEIGHBOURS else nlargest(NEIGHBOURS, counts, key=counts.__getitem__)
