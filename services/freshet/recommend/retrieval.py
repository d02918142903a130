"""Which products lie near a shopper's: from memory, from the index, by an exact scan. May import `mirror`, `under_way`,
`ports`.

What lies near a product is found ahead, while nobody waits for the index, and remembered. It stays exact: products that
changed since are compared with every query again, and a product that changed itself is sought anew. Filters and what a
shopper has seen are applied afterwards.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from freshet.domain.representations import Matrix
from freshet.domain.scoring import RankingWeights
from freshet.errors import DependencyDown
from freshet.ports import VectorIndex
from freshet.recommend.candidates import scan, scan_rows
from freshet.recommend.mirror import Mirror
from freshet.recommend.under_way import UnderWay
from freshet.settings import RecommendSettings

INDEX_SECONDS = 0.25
INDEX_LEAST_SECONDS = 0.004
"""With less time than this the index is not asked at all."""
REMEMBERED = 100_000
"""Products; what lies near one takes about 1 kB."""
FRESH_MOST = 50
SHARE_OF_TIME = 0.3
"""Finding ahead takes no more than this of the process's time, or of one of the index's cores."""
AHEAD_AT_ONCE = 16
"""Products that one question to the index is about, where nobody waits for it."""
AHEAD_SECONDS = 5.0
QUIET_SECONDS = 0.25
"""The index is asked ahead only when no request has asked it for so long."""
LOOKED_AT_ONCE = 2_000
BETWEEN_ROUNDS_SECONDS = 5.0
"""New products, and what was forgotten because it changed, are looked for so often."""

Rows: TypeAlias = NDArray[np.intp]
_Answer: TypeAlias = tuple[NDArray[np.int64], NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class Near:
    """The neighbours of one row, best first, as of the mirror's change number `at`. `whole`: there were no others."""

    rows: NDArray[np.integer]
    at: int
    whole: bool


@dataclass(slots=True)
class Search:
    """A search under way: `vectors` (queries, dimension) to seek near, made of these `rows`."""

    rows: list[int]
    vectors: Matrix
    allowed: NDArray[np.bool_]
    limit: int
    least: int
    """With fewer rows than this all together, the allowed products are scanned."""
    remember: bool
    missing: list[int]
    at: int
    asking: asyncio.Task[_Answer] | None = None


class Retriever:
    """Finds rows near queries. One per process; called from the event loop."""

    def __init__(self, mirror: Mirror, index: VectorIndex, settings: RecommendSettings, under_way: UnderWay) -> None:
        self._mirror, self._index, self._settings, self._under_way = mirror, index, settings, under_way
        self._near: OrderedDict[int, Near] = OrderedDict()
        self._asked_at = -QUIET_SECONDS
        """When a request last asked the index; monotonic seconds."""

    async def run(self, weights: RankingWeights) -> None:
        """Find ahead what is near each product, by these weights, until cancelled."""
        mirror = self._mirror
        await mirror.filled.wait()
        begin = 0
        while True:
            quiet = time.monotonic() - self._asked_at
            if quiet < QUIET_SECONDS:
                await asyncio.sleep(QUIET_SECONDS - quiet)
                continue
            await self._under_way.loaded()
            rows, begin = self._unknown(begin)
            if begin >= mirror.count and not len(rows):
                begin = 0
                await asyncio.sleep(BETWEEN_ROUNDS_SECONDS)
                continue
            begun = time.monotonic()
            try:
                await self._find_ahead(rows, mirror.layout.weighted(mirror.vectors[rows], weights.modalities))
            except DependencyDown:
                await asyncio.sleep(BETWEEN_ROUNDS_SECONDS)
            await asyncio.sleep((time.monotonic() - begun) * (1.0 / SHARE_OF_TIME - 1.0))

    def _unknown(self, begin: int) -> tuple[Rows, int]:
        """Some rows from `begin` on whose neighbours are not known, and the row after those looked at."""
        mirror = self._mirror
        most = AHEAD_AT_ONCE if self._indexed(False) else 1
        end = min(begin + LOOKED_AT_ONCE, mirror.count)
        rows: list[int] = []
        if len(self._near) < REMEMBERED:
            for row in (begin + np.flatnonzero(mirror.live[begin:end])).tolist():
                near = self._known(row)
                if near is None or not (near.whole or len(near.rows) >= self._settings.candidates_per_source // 2):
                    rows.append(row)
                    if len(rows) == most:
                        end = row + 1
                        break
        return np.array(rows, np.intp), end

    async def _find_ahead(self, rows: Rows, vectors: Matrix) -> None:
        if not len(rows):
            return
        if self._indexed(False):
            at = self._settled_change()
            numbers, _ = await _ask(self._index, vectors, self._settings.candidates_per_source, AHEAD_SECONDS)
            found = self._read(numbers, at)
        else:
            found = self._scan_all(vectors)
        for row, near in zip(rows.tolist(), found, strict=True):
            self._keep(row, near)

    def begin(
        self,
        rows: Rows,
        vectors: Matrix,
        allowed: NDArray[np.bool_],
        limit: int,
        page_size: int,
        *,
        usual: bool,
        narrow: bool,
        seconds: float,
        missing: list[str],
    ) -> Search:
        """Look in memory, and begin to ask the index for the rest.

        `usual`: the queries weigh modalities as the model does, so that what is found may be remembered. `narrow`: the
        filter may leave little. `seconds` is the time there is; what is left out for want of it is added to `missing`.
        """
        count_allowed = int(np.count_nonzero(allowed))
        least = min(2 * page_size, count_allowed)
        few = count_allowed <= self._settings.exact_scan_products
        remember = usual and not (narrow and few)
        search = Search(rows.tolist(), vectors, allowed, limit, least, remember, [], self._settled_change())
        search.missing = [i for i, row in enumerate(search.rows) if not remember or self._recall(row, limit) is None]
        if not search.missing or not self._indexed(narrow and few):
            return search
        if seconds < INDEX_LEAST_SECONDS:
            missing.append("index: left out, the deadline is too near; exact scan used")
            return search
        # As many more as may no longer be where the index shows them.
        sought = max(limit, min(limit + len(self._mirror.unsettled()), self._settings.candidates_per_source))
        search.asking = asyncio.get_running_loop().create_task(
            _ask(self._index, vectors[search.missing], sought, min(seconds, INDEX_SECONDS))
        )
        search.asking.add_done_callback(_look_at)
        self._asked_at = time.monotonic()
        return search

    async def finish(self, search: Search, missing: list[str]) -> tuple[list[Rows], Rows]:
        """Allowed rows near each query, and those that changed since these were sought and may be nearer."""
        found: dict[int, Near] = {}
        if search.asking is not None:
            try:
                numbers, _ = await search.asking
            except DependencyDown as error:
                missing.append(f"{error.dependency}: {error.detail}; exact scan used")
                return self._scan(search)
            found.update(zip(search.missing, self._read(numbers, search.at), strict=True))
        elif search.missing and search.remember:
            found.update(zip(search.missing, self._scan_all(search.vectors[search.missing], search.limit), strict=True))
        elif search.missing:
            return self._scan(search)
        for i, row in enumerate(search.rows):
            if i not in found:
                near = self._recall(row, search.limit)
                if near is None:
                    # It changed while the index was asked.
                    return self._scan(search)
                found[i] = near
            elif search.remember:
                self._keep(row, found[i])
        return self._choose(search, [found[i] for i in range(len(search.rows))])

    def _choose(self, search: Search, found: list[Near]) -> tuple[list[Rows], Rows]:
        allowed = search.allowed
        chosen = []
        for near in found:
            rows = near.rows[near.rows < len(allowed)]
            # What changed since is no longer where it was: it comes with the fresh ones.
            kept = allowed[rows] & self._mirror.unmoved(rows, near.at)
            chosen.append(rows[kept][: search.limit])
        fresh = self._mirror.changed_since(min(near.at for near in found))
        if search.asking is not None:
            fresh = np.union1d(fresh, self._mirror.unsettled())
        fresh = fresh[fresh < len(allowed)]
        fresh = fresh[allowed[fresh]]
        if sum(map(len, chosen)) + len(fresh) < search.least:
            return self._scan(search)
        return chosen, scan_rows(self._mirror, search.vectors, fresh, FRESH_MOST)

    def _scan(self, search: Search) -> tuple[list[Rows], Rows]:
        return scan(self._mirror, search.vectors, search.allowed, search.limit), np.empty(0, np.intp)

    def _read(self, numbers: NDArray[np.int64], at: int) -> list[Near]:
        """The index's answer, (queries, sought), by rows. Numbers below 0 are none; others may be unknown here yet."""
        rows = self._mirror.rows_of(numbers)
        return [Near(near[near >= 0], at, bool((found < 0).any())) for near, found in zip(rows, numbers, strict=True)]

    def _scan_all(self, vectors: Matrix, least: int = 0) -> list[Near]:
        """What is near each of these queries among all that is to be had, to be remembered."""
        mirror, sought = self._mirror, max(self._settings.candidates_per_source, least)
        found = []
        for near, vector in zip(
            scan(mirror, vectors, mirror.live[: mirror.count], sought),
            vectors,
            strict=True,
        ):
            order = np.argsort(-(mirror.vectors[near] @ vector), kind="stable")
            found.append(Near(near[order], mirror.changes, len(near) < sought))
        return found

    def _indexed(self, narrowed: bool) -> bool:
        """Whether the index is to be asked, and not the vectors in memory."""
        settings = self._settings
        if settings.retrieval == "exact" or narrowed:
            return False
        return settings.retrieval == "index" or self._mirror.count > settings.exact_scan_products

    def _settled_change(self) -> int:
        """The mirror's change number up to which the index shows everything."""
        unsettled = self._mirror.unsettled()
        return int(self._mirror.changed_at[unsettled].min()) - 1 if len(unsettled) else self._mirror.changes

    def _recall(self, row: int, least: int) -> Near | None:
        """What is remembered, where it is true still of at least so many near the row, or of all there are."""
        near = self._known(row)
        if near is None:
            return None
        if not near.whole and np.count_nonzero(self._mirror.unmoved(near.rows, near.at)) < least:
            return None
        self._near.move_to_end(row)
        return near

    def _known(self, row: int) -> Near | None:
        """What is remembered, if the row is still where it was. Of those near it some may have changed."""
        mirror, near = self._mirror, self._near.get(row)
        if near is None or mirror.changed_at[row] > near.at or near.at < mirror.logged_since:
            return None
        return near

    def _keep(self, row: int, near: Near) -> None:
        self._near[row] = Near(near.rows.astype(np.int32), near.at, near.whole)
        self._near.move_to_end(row)
        if len(self._near) > REMEMBERED:
            self._near.popitem(last=False)


def _look_at(asking: asyncio.Task[_Answer]) -> None:
    """So that nothing is said of a search that failed after its caller had gone."""
    if not asking.cancelled():
        asking.exception()


async def _ask(index: VectorIndex, vectors: Matrix, limit: int, seconds: float) -> _Answer:
    try:
        return await asyncio.wait_for(index.search(vectors, limit, seconds), seconds)
    except TimeoutError as error:
        raise DependencyDown("index", f"no answer within {seconds * 1e3:.0f} ms") from error
