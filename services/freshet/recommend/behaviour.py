"""Affinities of a shopper's products: solved once, remembered, and solved again when others chose. May import `domain`,
`mirror`, `rank`, `reads`, `under_way`.

A shopper's own events count in the profile, at once. What others' events change are affinities, and these follow in the
background, the ones that were used and have waited longest first, with a bounded share of this process's time. Before,
products that nobody asked for yet are solved ahead.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from freshet.domain import covisits
from freshet.domain.affinity import AffinityRules, affinities
from freshet.domain.covisits import NOTHING, Strongest
from freshet.domain.representations import Matrix, Modality
from freshet.errors import DependencyDown, InvalidInput
from freshet.recommend.history import stream_time_us
from freshet.recommend.mirror import Mirror
from freshet.recommend.rank import Affinities
from freshet.recommend.reads import Reads
from freshet.recommend.under_way import UnderWay
from freshet.settings import RecommendSettings

STORED_NEIGHBOURS = 128
"""Of what is stored of a product, so many are read: a worker keeps between one and two times its setting."""
LIKE_IN_WORDS = 64
"""This many products with the most similar words may be neighbours beside those chosen together."""
REMEMBERED = 100_000
RENEW_SECONDS = 1.0
"""Affinities younger than this are not looked at again."""
NEIGHBOUR_SECONDS = 60.0
"""How old what is known of a neighbour's own shoppers may be: it moves slowly, and only tempers an affinity."""
MATERIAL = 0.05
"""Affinities are solved again at once when the product's shoppers grew by this share; else with their neighbours'."""
SHARE_OF_TIME = 0.05
"""The background takes no more than this of the process's time."""
SHARE_AHEAD = 0.3
"""The same while there are products to be solved ahead."""
IDLE_SECONDS = 0.25


@dataclass(slots=True)
class _Solved:
    """Affinities of one product for `rows` of the mirror, as of change number `change` of its own row."""

    rows: NDArray[np.intp]
    values: NDArray[np.float32]
    together: NDArray[np.bool_]
    change: int
    users_level: float
    solved_at: float
    looked_at: float
    """Monotonic seconds, as `solved_at`."""
    used: bool = True


@dataclass(slots=True)
class _Counted:
    """What is stored of one product's shoppers, decoded."""

    data: Sequence[bytes]
    strongest: Strongest
    at: float


class BehaviourReader:
    """Gives affinities to requests. One per process; called from the event loop."""

    def __init__(
        self,
        reads: Reads,
        mirror: Mirror,
        half_life_us: int,
        settings: RecommendSettings,
        rules: AffinityRules,
        under_way: UnderWay,
    ) -> None:
        self._reads, self._mirror, self._half_life_us, self._under_way = reads, mirror, half_life_us, under_way
        self._scanned, self._rules = settings.exact_scan_products, rules
        names = mirror.layout.slices
        self._terms = names[next(name for name in (Modality.TERMS, Modality.TEXT, *names) if name in names)]
        self._solved: OrderedDict[int, _Solved] = OrderedDict()
        self._counted: OrderedDict[int, _Counted] = OrderedDict()
        self._now_us = 0
        self._ahead = 0

    async def read(self, rows: NDArray[np.intp], now_us: int, timeout_seconds: float, missing: list[str]) -> Affinities:
        """Affinities of these rows, the touches.

        Where some must be solved and cannot be, those of before are given, if any, and `missing` says so.
        """
        if not len(rows):
            return Affinities()
        self._now_us = now_us
        numbers = self._mirror.numbers[rows].tolist()
        changes = self._mirror.changed_at[rows].tolist()
        unknown = [each for each, change in zip(numbers, changes, strict=True) if not self._is_known(each, change)]
        if unknown:
            try:
                await self._solve(unknown, timeout_seconds)
            except DependencyDown as error:
                missing.append(f"{error.dependency}: {error.detail}; affinities of products are missing or old")
            except InvalidInput as error:
                missing.append(f"{error}; affinities of products are missing or old")
        solved = [(i, self._solved[number]) for i, number in enumerate(numbers) if number in self._solved]
        if not solved:
            return Affinities()
        found = [each for _, each in solved]
        for each in found:
            each.used = True
        return Affinities(
            touches=np.repeat([i for i, _ in solved], [len(each.rows) for each in found]),
            rows=np.concatenate([each.rows for each in found]),
            values=np.concatenate([each.values for each in found]),
            together=np.concatenate([each.together for each in found]),
        )

    async def run(self) -> None:
        """Renew what is out of date, until cancelled."""
        while True:
            await self._under_way.loaded()
            begun = time.monotonic()
            number, share = self._unsolved(), SHARE_AHEAD
            if number is None:
                number, share = self._oldest(begun), SHARE_OF_TIME
            if number is None:
                await asyncio.sleep(IDLE_SECONDS)
                continue
            try:
                if not self._now_us:
                    progress = await self._reads.call(1.0, self._reads.store.progress, "profiles")
                    self._now_us = stream_time_us(progress.values())
                await self._solve([number], 1.0)
            except (DependencyDown, InvalidInput):
                # A request that needs it says so.
                await asyncio.sleep(RENEW_SECONDS)
                continue
            await asyncio.sleep((time.monotonic() - begun) * (1.0 / share - 1.0))

    def _unsolved(self) -> int | None:
        """The next product, in the order in which they came, that is to be had and was not solved."""
        mirror = self._mirror
        while mirror.filled.is_set() and self._ahead < min(mirror.count, REMEMBERED):
            row = self._ahead
            self._ahead += 1
            number = int(mirror.numbers[row])
            if mirror.live[row] and number not in self._solved:
                return number
        return None

    def _is_known(self, number: int, change: int) -> bool:
        kept = self._solved.get(number)
        return kept is not None and kept.change == change

    def _oldest(self, now: float) -> int | None:
        """The product looked at longest ago that was used since. What nobody used moves out of the way."""
        for _ in range(min(len(self._solved), 100)):
            number, kept = next(iter(self._solved.items()))
            if now - kept.looked_at < RENEW_SECONDS:
                return None
            if kept.used:
                return number
            kept.looked_at = now
            self._solved.move_to_end(number)
        return None

    async def _solve(self, numbers: Sequence[int], timeout_seconds: float) -> None:
        """Solve those that are new, changed, or older than what is believed of their neighbours."""
        now = time.monotonic()
        deadline = now + timeout_seconds
        mine = await self._count(numbers, 0.0, deadline)
        pools: dict[int, tuple[int, NDArray[np.int64]]] = {}
        for number, row in zip(numbers, self._mirror.rows_of(np.array(numbers)).tolist(), strict=True):
            kept = self._solved.get(number)
            if (
                kept is not None
                and kept.change == self._mirror.changed_at[row]
                and now - kept.solved_at < NEIGHBOUR_SECONDS
                and _grew_by(kept.users_level, mine[number].strongest.users_level) < MATERIAL
            ):
                kept.looked_at, kept.used = now, False
                self._solved.move_to_end(number)
            else:
                pools[number] = row, self._pool(number, row, mine[number].strongest)
        if not pools:
            return
        everyone = np.unique(np.concatenate([pool for _, pool in pools.values()]))
        others = await self._count(everyone.tolist(), NEIGHBOUR_SECONDS, deadline)
        for number, (row, pool) in pools.items():
            counted = [others[other].strongest for other in pool.tolist()]
            near, values, together = self._regress(number, row, mine[number].strongest, pool, counted)
            change = int(self._mirror.changed_at[row])
            level = mine[number].strongest.users_level
            self._solved[number] = _Solved(near, values, together, change, level, now, now, used=False)
            self._solved.move_to_end(number)
        while len(self._solved) > REMEMBERED:
            self._solved.popitem(last=False)

    async def _count(self, numbers: Sequence[int], oldest_seconds: float, deadline: float) -> dict[int, _Counted]:
        """What is known of these products' shoppers, read again where it is older than that."""
        now = time.monotonic()
        found, missing = {}, []
        for number in numbers:
            kept = self._counted.get(number)
            if kept is None or now - kept.at > oldest_seconds:
                missing.append(number)
            else:
                found[number] = kept
        if missing:
            stored = await self._reads.call(deadline - now, self._reads.store.behaviour, missing)
            for number in missing:
                data = stored.get(number, ())
                kept = self._counted.get(number)
                if kept is None or kept.data != data:
                    decoded = covisits.strongest(data, STORED_NEIGHBOURS) if data else NOTHING
                    kept = self._counted[number] = _Counted(data, decoded, now)
                kept.at = now
                self._counted.move_to_end(number)
                found[number] = kept
            while len(self._counted) > REMEMBERED:
                self._counted.popitem(last=False)
        return found

    def _pool(self, number: int, row: int, mine: Strongest) -> NDArray[np.int64]:
        """Numbers, ascending, of the products that may be neighbours: chosen together, or alike in words."""
        mirror = self._mirror
        pool = mine.numbers[(mirror.rows_of(mine.numbers) >= 0) & (mine.numbers != number)]
        if 1 < mirror.count <= self._scanned:
            alike = mirror.vectors[: mirror.count, self._terms] @ mirror.vectors[row, self._terms]
            alike[~mirror.live[: mirror.count]] = -np.inf
            alike[row] = -np.inf
            limit = min(LIKE_IN_WORDS, mirror.count - 1)
            best = np.argpartition(-alike, limit - 1)[:limit]
            pool = np.append(pool, mirror.numbers[best[alike[best] > 0.0]].astype(np.int64))
        return np.unique(pool)

    def _regress(
        self, number: int, row: int, mine: Strongest, pool: NDArray[np.int64], counted: Sequence[Strongest]
    ) -> tuple[NDArray[np.intp], NDArray[np.float32], NDArray[np.bool_]]:
        """Neighbours' rows, their affinities, and which of them somebody chose together with the product."""
        if not len(pool):
            return np.empty(0, np.intp), np.empty((0, 2), np.float32), np.empty(0, np.bool_)
        rules = self._rules
        terms = _unit(self._mirror.vectors[np.append(row, self._mirror.rows_of(pool)), self._terms])
        owners = np.repeat(np.arange(len(pool)), [len(each.numbers) for each in counted])
        listed = np.concatenate([each.numbers for each in counted])
        levels = np.concatenate([each.levels for each in counted])
        # Each product keeps only its strongest neighbours: of two memories the longer is right.
        together = np.zeros(len(pool))
        at, hit = _find(mine.numbers, pool)
        together[at[hit]] = self._at(mine.levels[hit])
        mutual = np.flatnonzero(listed == number)
        together[owners[mutual]] = np.maximum(together[owners[mutual]], self._at(levels[mutual]))
        near = rules.nearest(rules.strength(together, terms[1:] @ terms[0]))
        place = np.full(len(pool), -1)
        place[near] = np.arange(len(near))
        # Only what neighbours say of each other is looked up: the lists are long.
        lists = np.flatnonzero(place[owners] >= 0)
        at, hit = _find(listed[lists], pool[near])
        both = lists[hit]
        pairs = np.zeros((len(near), len(near)))
        pairs[place[owners[both]], at[hit]] = self._at(levels[both])
        users = self._at(np.array([mine.users_level, *(counted[i].users_level for i in near.tolist())]))
        terms = terms[np.append(0, near + 1)]
        values = affinities(
            rules, float(users[0]), together[near], users[1:], np.maximum(pairs, pairs.T), terms @ terms.T
        )
        return self._mirror.rows_of(pool[near]), values, together[near] > 0.0

    def _at(self, levels: NDArray[np.float64]) -> NDArray[np.float64]:
        return covisits.counts_at(levels, self._now_us, self._half_life_us)


def _grew_by(before: float, after: float) -> float:
    """The share by which a count grew, from its levels."""
    return 0.0 if before == after else float(np.exp2(after - before)) - 1.0


def _find(numbers: NDArray[np.int64], pool: NDArray[np.int64]) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """For each number its place in `pool`, which ascends, and whether it is there."""
    at = np.minimum(np.searchsorted(pool, numbers), len(pool) - 1)
    return at, pool[at] == numbers


def _unit(rows: Matrix) -> Matrix:
    lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows))
    unit: Matrix = rows / np.maximum(lengths, 1e-12)[:, None]
    return unit
