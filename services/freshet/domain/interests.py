"""A shopper's interests: which of the products they touched stand for the rest. NumPy only; no I/O.

Source: PinnerSage (Pal et al., KDD 2020) represents a user by medoids of clustered actions, not by one mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from freshet.domain.representations import Matrix

JOIN_COSINE = 0.6
"""Touches at least this alike are one interest."""


@dataclass(frozen=True, slots=True)
class Interests:
    """`medoids` are indices into the touches, heaviest interest first; `weights` sum to 1."""

    medoids: NDArray[np.intp]
    weights: NDArray[np.float32]


def find_interests(vectors: Matrix, weights: NDArray[np.float32], limit: int, join: float = JOIN_COSINE) -> Interests:
    """At most `limit` interests of touches with `vectors` (touches, dimension) and positive `weights` (touches,).

    Leader clustering, heaviest touch first: a touch joins the most similar leader when their cosine is at least
    `join`, else it leads; when `limit` lead already it joins the nearest. An interest is shown by its medoid.
    """
    count = len(weights)
    if count == 0:
        return Interests(np.empty(0, np.intp), np.empty(0, np.float32))
    norms = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
    scaled = vectors / np.maximum(norms, 1e-12)[:, None]
    # A few dozen touches: lists are quicker than arrays of that size.
    cosine: list[list[float]] = (scaled @ scaled.T).tolist()
    heavy: list[float] = weights.tolist()
    members: dict[int, list[int]] = {}
    for touch in sorted(range(count), key=lambda i: -heavy[i]):
        row = cosine[touch]
        nearest = max(members, key=row.__getitem__, default=-1)
        if nearest >= 0 and (row[nearest] >= join or len(members) >= limit):
            members[nearest].append(touch)
        else:
            members[touch] = [touch]
    medoids = [_medoid(cosine, heavy, cluster) for cluster in members.values()]
    totals = [sum(heavy[i] for i in cluster) for cluster in members.values()]
    heaviest = sorted(range(len(totals)), key=lambda i: -totals[i])
    shares = np.array([totals[i] for i in heaviest], dtype=np.float32) / np.float32(sum(totals))
    return Interests(np.array([medoids[i] for i in heaviest], dtype=np.intp), shares)


def _medoid(cosine: Sequence[Sequence[float]], weights: Sequence[float], cluster: Sequence[int]) -> int:
    if len(cluster) < 3:
        return cluster[0]
    return max(cluster, key=lambda i: sum(cosine[i][j] * weights[j] for j in cluster))
