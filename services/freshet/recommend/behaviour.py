"""Co-visits of a shopper's products, from stored behaviour to pairs of rows. May import `domain`, `mirror`, `reads`."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from freshet.domain import covisits
from freshet.domain.covisits import NOTHING, Strongest
from freshet.recommend.mirror import Mirror
from freshet.recommend.rank import CoVisits
from freshet.recommend.reads import Reads

TOUCHES = 12
"""Co-visits are read of this many of the products touched last."""
NEIGHBOURS = 32
USERS_KEPT_SECONDS = 60.0
"""How old a neighbour's count of users may be: it moves slowly, and only scales a cosine."""
DECODED_MOST = 50_000


class BehaviourReader:
    """Reads co-visits; remembers what it decoded while the bytes stay the same, and how many users neighbours have."""

    def __init__(self, reads: Reads, mirror: Mirror, half_life_us: int) -> None:
        self._reads, self._mirror, self._half_life_us = reads, mirror, half_life_us
        self._decoded: dict[int, tuple[Sequence[bytes], Strongest]] = {}
        # By product number: users' level, and when it was read (monotonic seconds).
        self._users = np.empty(0, np.float64)
        self._read_at = np.empty(0, np.float64)

    async def read(self, rows: NDArray[np.intp], now_us: int, timeout_seconds: float) -> CoVisits:
        """Co-visits of the first TOUCHES of these rows. Raises DependencyDown."""
        numbers = self._mirror.numbers[rows[:TOUCHES]].tolist()
        if not numbers:
            return CoVisits()
        deadline = time.monotonic() + timeout_seconds
        stored = await self._reads.call(timeout_seconds, self._reads.store.behaviour, numbers)
        mine = [self._strongest(number, stored[number]) if number in stored else NOTHING for number in numbers]
        neighbours = np.concatenate([each.numbers for each in mine])
        if not len(neighbours):
            return CoVisits()
        self._note(numbers, mine)
        await self._learn_users(neighbours, deadline)
        sizes = [len(each.numbers) for each in mine]

        def at(levels: NDArray[np.float64]) -> NDArray[np.float64]:
            return covisits.counts_at(levels, now_us, self._half_life_us)

        cosines = covisits.cosines(
            at(np.concatenate([each.levels for each in mine])),
            np.repeat(at(np.array([each.users_level for each in mine])), sizes),
            at(self._users[neighbours]),
        )
        found = self._mirror.rows_of(neighbours)
        known = found >= 0
        touches = np.repeat(np.arange(len(mine)), sizes)
        return CoVisits(touches[known], found[known], cosines[known].astype(np.float32))

    def _strongest(self, number: int, data: Sequence[bytes]) -> Strongest:
        kept = self._decoded.get(number)
        if kept is not None and kept[0] == data:
            return kept[1]
        if len(self._decoded) >= DECODED_MOST:
            self._decoded.clear()
        decoded = covisits.strongest(data, NEIGHBOURS)
        self._decoded[number] = (data, decoded)
        return decoded

    async def _learn_users(self, numbers: NDArray[np.int64], deadline: float) -> None:
        now = time.monotonic()
        self._reach(int(numbers.max()))
        missing = np.unique(numbers[self._read_at[numbers] < now - USERS_KEPT_SECONDS]).tolist()
        if not missing:
            return
        stored = await self._reads.call(deadline - now, self._reads.store.behaviour, missing)
        self._note(missing, [covisits.strongest(stored[n], 0) if n in stored else NOTHING for n in missing])

    def _note(self, numbers: Sequence[int], read: Sequence[Strongest]) -> None:
        self._reach(max(numbers))
        self._users[numbers] = [each.users_level for each in read]
        self._read_at[numbers] = time.monotonic()

    def _reach(self, number: int) -> None:
        missing = number + 1 - len(self._users)
        if missing > 0:
            missing = max(missing, len(self._users))
            self._users = np.concatenate([self._users, np.full(missing, -np.inf)])
            self._read_at = np.concatenate([self._read_at, np.full(missing, -np.inf)])
