"""What a shopper did, read from the profile, in terms of this process's products. May import `domain`, `mirror`."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pyroaring import BitMap

from freshet.domain import profiles
from freshet.domain.interactions import Kind
from freshet.domain.interests import find_interests
from freshet.domain.progress import Progress
from freshet.domain.representations import Matrix
from freshet.domain.scoring import RankingWeights, Touched, heaviest, lately
from freshet.recommend.mirror import Mirror

LAST_SEEN = 3
"""Candidates are sought near this many of the products touched last, whatever their weight."""


@dataclass(frozen=True, slots=True)
class History:
    """A profile at this moment: touches newest first, disliked ones with negative weights."""

    numbers: NDArray[np.uint32]
    weights: NDArray[np.float32]
    kinds: NDArray[np.uint8]
    seen: BitMap
    event_time_us: int = 0
    now_us: int = 0
    """The moment as of which `weights` are."""


def stream_time_us(progress: Iterable[Progress]) -> int:
    """What time it is in the stream: the newest interaction applied, or now when there is none.

    Decay follows the stream and not the wall, so that a replayed or imported past is worth what it was worth then.
    """
    return max((step.event_time_us for step in progress), default=0) or time.time_ns() // 1_000


NO_HISTORY = History(np.empty(0, np.uint32), np.empty(0, np.float32), np.empty(0, np.uint8), BitMap())


def read_history(data: bytes | None, now_us: int, half_life_us: int) -> History:
    """The history that a stored profile holds; an absent one is empty."""
    if data is None:
        return NO_HISTORY
    profile = profiles.decode(data)
    numbers, weights, kinds = profiles.decayed(profile, now_us, half_life_us)
    return History(numbers, weights, kinds, profile.seen, profile.event_time_us, now_us)


@dataclass(frozen=True, slots=True)
class Shopper:
    """A history in this process's rows. `liked_rows` and `liked_kinds` go with `liked`, newest first.

    The weights of `liked` have recency in them.
    """

    liked_rows: NDArray[np.intp]
    liked_kinds: NDArray[np.uint8]
    liked: Touched
    disliked: Touched
    never: BitMap
    """Product numbers that must not be shown even when seen ones may be: hidden."""
    seen: BitMap
    now_us: int


def understand(mirror: Mirror, history: History, recency: float) -> Shopper:
    """Products that this process does not know (yet) are left out: they count when their vector arrives."""
    rows = mirror.rows_of(history.numbers)
    liked = np.flatnonzero((history.weights > 0.0) & (rows >= 0))
    liking = lately(history.weights[liked], recency)
    kept = heaviest(liking)
    liked, liking = liked[kept], liking[kept]
    disliked = np.flatnonzero((history.weights < 0.0) & (rows >= 0))
    disliked = disliked[heaviest(-history.weights[disliked])]
    return Shopper(
        liked_rows=rows[liked],
        liked_kinds=history.kinds[liked],
        liked=Touched(mirror.vectors[rows[liked]], liking),
        disliked=Touched(mirror.vectors[rows[disliked]], -history.weights[disliked]),
        never=BitMap(history.numbers[history.kinds == Kind.HIDE].tolist()),
        seen=history.seen,
        now_us=history.now_us,
    )


def queries(
    mirror: Mirror, shopper: Shopper, weights: RankingWeights, limit: int
) -> tuple[NDArray[np.intp], Matrix, int]:
    """Rows to seek candidates near, their weighted vectors (queries, dimension), and how many of them are interests.

    Interests come first. The others are the products touched last, where those are not interests already.
    """
    interests = find_interests(shopper.liked.vectors, shopper.liked.weights, limit)
    last = np.setdiff1d(np.arange(min(LAST_SEEN, len(shopper.liked))), interests.medoids)
    chosen = np.concatenate([interests.medoids, last])
    modalities = {segment.name: weights.modalities.get(segment.name, 1.0) for segment in mirror.layout.segments}
    vectors = mirror.layout.weighted(shopper.liked.vectors[chosen], modalities)
    return shopper.liked_rows[chosen], vectors, len(interests.medoids)
