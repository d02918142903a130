"""How well the index finds what an exact scan finds, measured beside the requests. May import `mirror`, `ports`."""

from __future__ import annotations

import asyncio

import numpy as np
import structlog
from numpy.typing import NDArray

from freshet.errors import DependencyDown
from freshet.ports import VectorIndex
from freshet.recommend.measures import PROBE_SECONDS, PROBES, recall
from freshet.recommend.mirror import Mirror

EVERY_SECONDS = 10.0
NEAREST = 10
SEARCH_SECONDS = 1.0
_SPARE = 40
"""So many more are sought: rows that changed lately may be found where they were, and are left out on both sides."""
_SAME = 1e-4
"""Scores that differ by less are the same: the index adds up in another order."""

log = structlog.get_logger()


class RecallProbe:
    """Every few seconds the neighbours of one product, from the index and from memory."""

    def __init__(self, mirror: Mirror, index: VectorIndex, *, seed: int | None = None) -> None:
        self._mirror, self._index = mirror, index
        self._random = np.random.default_rng(seed)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(EVERY_SECONDS)
            await self.look()

    async def look(self) -> float | None:
        """One look: the recall in [0, 1], or None where there was nothing to compare or nobody to ask."""
        mirror = self._mirror
        settled = mirror.live[: mirror.count].copy()
        settled[mirror.unsettled()] = False
        rows = np.flatnonzero(settled)
        if not mirror.filled.is_set() or len(rows) <= NEAREST:
            PROBES.labels("too_few").inc()
            return None
        # The request path writes no vector in place of a settled one while this runs but for a change that is under
        # way; one look in very many may see that, and the next does not.
        searched = mirror.layout.searched
        vectors, query = mirror.vectors[:, :searched], mirror.vectors[int(self._random.choice(rows))].copy()
        try:
            with PROBE_SECONDS.time():
                numbers, _ = await asyncio.wait_for(
                    self._index.search(query[np.newaxis], NEAREST + _SPARE, SEARCH_SECONDS), SEARCH_SECONDS
                )
        except (DependencyDown, TimeoutError):
            PROBES.labels("index_away").inc()
            return None
        found = mirror.rows_of(numbers[0])
        ratio = await asyncio.to_thread(_recall, vectors, query[:searched], settled, found)
        PROBES.labels("compared").inc()
        recall().set(ratio)
        return ratio


def _recall(
    vectors: NDArray[np.float32], query: NDArray[np.float32], settled: NDArray[np.bool_], found: NDArray[np.intp]
) -> float:
    """The share of the best `NEAREST` settled rows that were found, ties counting for each other."""
    scores = vectors[: len(settled)] @ query
    scores[~settled] = -np.inf
    least = np.partition(scores, len(scores) - NEAREST)[len(scores) - NEAREST]
    found = found[(found >= 0) & (found < len(settled))]
    found = found[settled[found]][:NEAREST]
    return float(np.count_nonzero(scores[found] >= least - _SAME) / NEAREST)
