"""Variety: maximal marginal relevance over ranked candidates. NumPy only.

Source: Carbonell & Goldstein, "The use of MMR" (SIGIR 1998).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from freshet.domain.representations import Layout, Matrix, Modality

DEPTH = 5
"""Variety looks at this many candidates per product wanted: deeper ones are too weak to help."""


def likeness_vectors(layout: Layout, vectors: Matrix) -> Matrix:
    """What two products' likeness is measured on: joint and text, so that the inner product lies within [-1, 1]."""
    names: list[Modality] = [name for name in (Modality.JOINT, Modality.TEXT) if name in layout.slices]
    if not names:
        names = [layout.segments[0].name]
    parts = [_unit(vectors[:, layout.slices[name]]) for name in names]
    return np.concatenate(parts, axis=1) / np.float32(np.sqrt(len(parts)))


def _unit(rows: Matrix) -> Matrix:
    lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows))
    unit: Matrix = rows / np.maximum(lengths, 1e-12)[:, None]
    return unit


def choose(
    scores: NDArray[np.float64],
    likeness: Callable[[NDArray[np.intp]], Matrix],
    taken: NDArray[np.intp],
    count: int,
    diversity: float,
) -> NDArray[np.intp]:
    """The next `count` candidates after those `taken` already: indices, in order.

    `scores` (candidates,) are sorted, best first; `likeness` gives `likeness_vectors` of candidates by index.
    At diversity 0 the order is that of the scores.
    """
    free = np.ones(len(scores), np.bool_)
    free[taken] = False
    left = np.flatnonzero(free)
    if diversity <= 0.0 or len(left) <= 1:
        return left[:count]
    pool = left[: max(DEPTH * count, 50)]
    low, high = float(scores[pool[-1]]), float(scores[pool[0]])
    relevance = ((scores[pool] - low) / max(high - low, 1e-12) * (1.0 - diversity)).astype(np.float32)
    vectors = likeness(pool)
    nearest = np.full(len(pool), -1.0, np.float32)
    if len(taken):
        nearest = (vectors @ likeness(taken).T).max(axis=1)
    open_ = np.zeros(len(pool), np.float32)
    chosen: list[int] = []
    for _ in range(min(count, len(pool))):
        best = int((relevance - np.float32(diversity) * nearest + open_).argmax())
        chosen.append(best)
        open_[best] = -np.inf
        np.maximum(nearest, vectors @ vectors[best], out=nearest)
    return pool[chosen]
