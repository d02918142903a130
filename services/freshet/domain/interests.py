"""A shopper's interests: which of the products they touched stand for the rest. NumPy only; no I/O.

Source: PinnerSage (Pal et al., KDD 2020) represents a user by medoids of clustered actions, not by one mean.
"""

from __future__ import annotations

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
    cosine = scaled @ scaled.T
    order = np.argsort(-weights, kind="stable")
    leaders: list[int] = []
    members: list[list[int]] = []
    for touch in order.tolist():
        if leaders:
            to_leaders = cosine[touch, leaders]
            nearest = int(to_leaders.argmax())
            if to_leaders[nearest] >= join or len(leaders) >= limit:
                members[nearest].append(touch)
                continue
        leaders.append(touch)
        members.append([touch])
    medoids = [_medoid(cosine, weights, cluster) for cluster in members]
    totals = np.array([weights[cluster].sum() for cluster in members], dtype=np.float32)
    heaviest = np.argsort(-totals, kind="stable")
    return Interests(np.array(medoids, dtype=np.intp)[heaviest], totals[heaviest] / totals.sum())


def _medoid(cosine: Matrix, weights: NDArray[np.float32], cluster: list[int]) -> int:
    if len(cluster) < 3:
        return cluster[0]
    chosen = np.array(cluster)
    return cluster[int((cosine[np.ix_(chosen, chosen)] @ weights[chosen]).argmax())]
