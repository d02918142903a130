"""The catalogue's vectors, a block at a time, and what lies near one product by each modality. May import `ports`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from freshet.domain.representations import Layout, Matrix, Modality, Vector
from freshet.ports import CatalogStore

BLOCK = 4_096
"""Products in memory at a time: 11 MB at 672 dimensions."""


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A product and the cosine between its segment and the inspected product's."""

    product_id: str
    cosine: float


def blocks(store: CatalogStore, size: int = BLOCK) -> Iterator[tuple[list[str], Matrix]]:
    """Every live product's vector, in order of id."""
    after = ""
    while True:
        ids, vectors = store.vectors(after, size)
        if not ids:
            return
        yield ids, vectors
        after = ids[-1]


def unit(rows: Matrix) -> Matrix:
    """Rows of unit length; an all-zero row stays zero."""
    lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows))
    found: Matrix = rows / np.maximum(lengths, 1e-12)[:, None]
    return found


def neighbours(
    store: CatalogStore, layout: Layout, product_id: str, vector: Vector, count: int
) -> dict[Modality, list[Neighbour]]:
    """The `count` nearest products by each segment that `vector` has, nearest first; one pass over the catalogue."""
    had = {name: vector[place] for name, place in layout.slices.items() if vector[place].any()}
    wanted = {name: part / np.linalg.norm(part) for name, part in had.items()}
    best: dict[Modality, list[Neighbour]] = {name: [] for name in wanted}
    for ids, vectors in blocks(store):
        for name, direction in wanted.items():
            cosines = unit(vectors[:, layout.slices[name]]) @ direction
            best[name] = _merged(best[name], ids, cosines, product_id, count)
    return best


def _merged(
    known: Sequence[Neighbour], ids: Sequence[str], cosines: NDArray[np.float32], without: str, count: int
) -> list[Neighbour]:
    near = np.argsort(-cosines, kind="stable")[: count + 1].tolist()
    found = [Neighbour(ids[i], float(cosines[i])) for i in near if ids[i] != without and cosines[i] > 0.0]
    return sorted([*known, *found], key=lambda each: (-each.cosine, each.product_id))[:count]


def disagreement(one: Sequence[Neighbour], other: Sequence[Neighbour]) -> float:
    """Which share of the nearest products of one modality is not among the other's: 0 (the same) to 1 (none shared)."""
    most = max(len(one), len(other))
    if not most:
        return 0.0
    return 1.0 - len({each.product_id for each in one} & {each.product_id for each in other}) / most
