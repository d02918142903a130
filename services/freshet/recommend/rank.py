"""Ranking: candidates scored and put in order. May import `domain`, `mirror`, `candidates`, `rerank`."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from freshet.domain.representations import Modality, Vector, used_dimensions
from freshet.domain.scoring import RankingWeights, by_segment, shares, taste
from freshet.recommend.candidates import Candidates
from freshet.recommend.history import Shopper
from freshet.recommend.mirror import Mirror
from freshet.recommend.rerank import choose, likeness_vectors


@dataclass(frozen=True, slots=True)
class Affinities:
    """How much a shopper's products speak for others: parallel arrays over pairs of a touch and a row.

    `values` (pairs, 2) are by shoppers and by words. `together` tells the pairs that some shopper chose both of; the
    others are alike by their words alone.
    """

    touches: NDArray[np.intp] = field(default_factory=lambda: np.empty(0, np.intp))
    rows: NDArray[np.intp] = field(default_factory=lambda: np.empty(0, np.intp))
    values: NDArray[np.float32] = field(default_factory=lambda: np.empty((0, 2), np.float32))
    together: NDArray[np.bool_] = field(default_factory=lambda: np.empty(0, np.bool_))

    def towards(self, rows: NDArray[np.intp], shares: NDArray[np.float32]) -> NDArray[np.float64]:
        """For each of `rows` the sum over touches of share times affinity, (2, rows)."""
        at = _places(rows, self.rows)
        hit = at >= 0
        at, each = at[hit], shares[self.touches[hit]][:, None] * self.values[hit]
        return np.stack([np.bincount(at, each[:, part], len(rows)) for part in (0, 1)])

    def by_words(self, rows: NDArray[np.intp]) -> Affinities:
        """The same, but towards these rows by words alone."""
        values = self.values.copy()
        values[_places(rows, self.rows) >= 0, 0] = 0.0
        return replace(self, values=values)

    def strongest(
        self, count: int, shares: NDArray[np.float32], weights: RankingWeights, limit: int
    ) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """The `limit` rows below `count` that are spoken for most: chosen together with a touch, or not."""
        total = np.bincount(self.rows, shares[self.touches] * self.weighted(weights), count)
        rows = np.flatnonzero(total > 0.0)
        if len(rows) > limit:
            rows = rows[np.argpartition(-total[rows], limit - 1)[:limit]]
        chosen = np.zeros(count, np.bool_)
        chosen[self.rows[self.together]] = True
        return rows[chosen[rows]], rows[~chosen[rows]]

    def weighted(self, weights: RankingWeights) -> NDArray[np.float32]:
        """What a pair adds to a score, (pairs,)."""
        added: NDArray[np.float32] = self.values @ np.array([weights.behaviour, weights.alike], np.float32)
        return added

    def matrix(self, rows: NDArray[np.intp], touches: int, weights: RankingWeights) -> NDArray[np.float32]:
        """What every touch adds to the score of each of these rows, (rows, touches)."""
        found = np.zeros((len(rows), touches), np.float32)
        at = _places(rows, self.rows)
        hit = at >= 0
        found[at[hit], self.touches[hit]] = self.weighted(weights)[hit]
        return found


def _places(rows: NDArray[np.intp], wanted: NDArray[np.intp]) -> NDArray[np.int32]:
    """Where in `rows`, which are distinct, each of `wanted` is; -1 where it is not."""
    if not len(rows) or not len(wanted):
        return np.full(len(wanted), -1, np.int32)
    places = np.full(max(int(rows.max()), int(wanted.max())) + 1, -1, np.int32)
    places[rows] = np.arange(len(rows), dtype=np.int32)
    found: NDArray[np.int32] = places[wanted]
    return found


@dataclass(slots=True)
class Ranking:
    """Candidates by score, best first. `order` holds the places shown so far, and grows page by page."""

    rows: NDArray[np.intp]
    sources: NDArray[np.uint8]
    scores: NDArray[np.float64]
    behaviour: NDArray[np.float64]
    alike: NDArray[np.float64]
    """What affinities by words add; a part of text's contribution."""
    trending: NDArray[np.float64]
    tried: NDArray[np.bool_]
    """Whether anybody has chosen the candidate."""
    wanted: Vector
    """The shopper's taste, with the modalities' weights in it."""
    weights: RankingWeights
    liked_rows: NDArray[np.intp]
    liked_shares: NDArray[np.float32]
    affinities: Affinities
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

    def contributions(self, mirror: Mirror, places: NDArray[np.intp]) -> NDArray[np.float64]:
        """What adds up to the scores at `places`: (places, segments + 2), columns as `part_names` gives them."""
        parts = by_segment(mirror.layout, mirror.vectors[self.rows[places]], self.wanted)
        parts[~self.tried[places]] *= self.weights.untried
        text = next((i for i, segment in enumerate(mirror.layout.segments) if segment.name is Modality.TEXT), 0)
        parts[:, text] += self.alike[places]
        return np.column_stack([parts, self.behaviour[places], self.trending[places]])

    def because(self, mirror: Mirror, places: NDArray[np.intp]) -> list[int]:
        """For each place the row of the shopper's product that weighs most in the score there, -1 for none."""
        if not len(self.liked_rows) or not len(places):
            return [-1] * len(places)
        rows = self.rows[places]
        liked = mirror.layout.weighted(mirror.vectors[self.liked_rows], self.weights.modalities)
        speaks = mirror.vectors[rows] @ liked.T
        added = self.affinities.matrix(rows, len(self.liked_rows), self.weights)
        untried = ~self.tried[places]
        speaks[untried] *= self.weights.untried
        added[untried] *= self.weights.untried_affinity
        speaks += added
        speaks *= self.liked_shares
        best = speaks.argmax(axis=1)
        most = speaks[np.arange(len(rows)), best]
        chosen: list[int] = np.where(most > 0.0, self.liked_rows[best], -1).tolist()
        return chosen


def rank(
    mirror: Mirror,
    weights: RankingWeights,
    found: Candidates,
    shopper: Shopper,
    affinities: Affinities,
    demand: NDArray[np.float32] | None,
    tried: NDArray[np.bool_],
    diversity: float,
) -> Ranking:
    """Score and order. `demand` (rows of the mirror,) is demand now; equal scores fall by demand, then newest.

    `tried` (candidates,) tells which of them anybody has chosen.
    """
    rows = found.rows
    wanted = taste(mirror.layout, weights, shopper.liked, shopper.disliked)
    liked_shares = shares(shopper.liked)
    # Nobody chose these: what regression spreads to them from others is no shopper's word for them.
    affinities = affinities.by_words(rows[~tried])
    behaviour, alike = affinities.towards(rows, liked_shares) * np.array([[weights.behaviour], [weights.alike]])
    alike[~tried] *= weights.untried_affinity
    trending = np.zeros(len(rows)) if demand is None else weights.trending * demand[rows].astype(np.float64)
    used = used_dimensions(wanted[None])
    likeness = (mirror.vectors[rows, :used] @ wanted[:used]).astype(np.float64)
    likeness[~tried] *= weights.untried
    scores = likeness + behaviour + alike + trending
    order = np.lexsort((-mirror.times[rows], -trending, -scores))
    return Ranking(
        rows=rows[order],
        sources=found.sources[order],
        scores=scores[order],
        behaviour=behaviour[order],
        alike=alike[order],
        trending=trending[order],
        tried=tried[order],
        wanted=wanted,
        weights=weights,
        liked_rows=shopper.liked_rows,
        liked_shares=liked_shares,
        affinities=affinities,
        diversity=diversity,
    )
