"""Ranking: candidates scored and put in order. May import `domain`, `mirror`, `candidates`, `history`."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from freshet.domain.representations import Matrix
from freshet.domain.scoring import RankingWeights, Touched, score
from freshet.recommend.candidates import Candidates
from freshet.recommend.mirror import Mirror
from freshet.recommend.rerank import choose, likeness_vectors


@dataclass(frozen=True, slots=True)
class CoVisits:
    """For each liked touch the rows its shoppers also touched, with cosines: parallel arrays over pairs."""

    touches: NDArray[np.intp] = field(default_factory=lambda: np.empty(0, np.intp))
    rows: NDArray[np.intp] = field(default_factory=lambda: np.empty(0, np.intp))
    cosines: NDArray[np.float32] = field(default_factory=lambda: np.empty(0, np.float32))

    def matrix(self, touches: int, rows: NDArray[np.intp]) -> NDArray[np.float32] | None:
        """Cosines of shape (touches, rows); `rows` ascend."""
        if not len(self.rows) or not len(rows):
            return None
        at = np.minimum(np.searchsorted(rows, self.rows), len(rows) - 1)
        hit = rows[at] == self.rows
        if not hit.any():
            return None
        matrix = np.zeros((touches, len(rows)), np.float32)
        matrix[self.touches[hit], at[hit]] = self.cosines[hit]
        return matrix


@dataclass(slots=True)
class Ranking:
    """Candidates by score, best first. `order` holds the places shown so far, and grows page by page."""

    rows: NDArray[np.intp]
    sources: NDArray[np.uint8]
    contributions: NDArray[np.float64]
    scores: NDArray[np.float64]
    because: NDArray[np.intp]
    """Row of the shopper's product that weighed most, -1 for none."""
    diversity: float
    order: NDArray[np.intp] = field(default_factory=lambda: np.empty(0, np.intp))

    def __len__(self) -> int:
        return len(self.rows)

    def places(self, mirror: Mirror, offset: int, count: int) -> NDArray[np.intp]:
        """Indices of the candidates at places offset to offset + count. The same question has the same answer."""
        missing = min(offset + count, len(self)) - len(self.order)
        if missing > 0:
            more = choose(
                self.scores,
                lambda chosen: likeness_vectors(mirror.layout, mirror.vectors[self.rows[chosen]]),
                self.order,
                missing,
                self.diversity,
            )
            self.order = np.concatenate([self.order, more])
        return self.order[offset : offset + count]


def rank(
    mirror: Mirror,
    weights: RankingWeights,
    candidates: Candidates,
    liked: Touched,
    liked_rows: NDArray[np.intp],
    disliked: Touched,
    covisits: CoVisits,
    trends: NDArray[np.float32] | None,
    diversity: float,
) -> Ranking:
    """Score and order. `trends` (rows of the mirror,) are demand now; equal scores fall by demand, then newest."""
    rows = candidates.rows
    vectors: Matrix = mirror.vectors[rows]
    demand = None if trends is None else trends[rows]
    scored = score(mirror.layout, weights, vectors, liked, disliked, covisits.matrix(len(liked), rows), demand)
    totals = scored.totals
    keys = (-mirror.times[rows], -totals) if demand is None else (-mirror.times[rows], -demand, -totals)
    order = np.lexsort(keys)
    because = np.full(len(rows), -1, np.intp)
    known = scored.because >= 0
    because[known] = liked_rows[scored.because[known]]
    return Ranking(
        rows[order], candidates.sources[order], scored.contributions[order], totals[order], because[order], diversity
    )
