"""Products that are nearly the same: by their words, and by their pictures where both have one. May import `scan`.

All pairs are compared, a block against a block, in memory that does not grow with the catalogue: what is compared
lies in a file that is gone afterwards.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from freshet.domain.representations import Layout, Matrix, Modality
from freshet.inspect.scan import blocks, unit
from freshet.ports import CatalogStore

BLOCK = 2_048
WORDS_LEAST = 0.95
PICTURE_LEAST = 0.97


@dataclass(frozen=True, slots=True)
class Alike:
    """Two products, the one with the smaller id first. `picture` is None where one of them has none."""

    first: str
    second: str
    words: float
    picture: float | None


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Least cosines of two products' terms, and of their pictures where both have one."""

    words: float = WORDS_LEAST
    picture: float = PICTURE_LEAST


def pairs(
    store: CatalogStore,
    layout: Layout,
    thresholds: Thresholds,
    advanced: Callable[[float], None] = lambda _share: None,
) -> Iterator[Alike]:
    """Every near-identical pair, as it is found. `advanced` hears the share of blocks done, 0 to 1."""
    terms, image = layout.slices[Modality.TERMS], layout.slices[Modality.IMAGE]
    width = terms.stop - terms.start + image.stop - image.start
    ids: list[str] = []
    with tempfile.TemporaryFile(prefix="freshet-duplicates-") as file:
        for names, vectors in blocks(store, BLOCK):
            ids.extend(names)
            kept = np.concatenate([unit(vectors[:, terms]), unit(vectors[:, image])], axis=1)
            file.write(kept.astype("<f2").tobytes())
        if not ids:
            return
        file.flush()
        spooled: NDArray[np.float16] = np.memmap(file, dtype="<f2", mode="r", shape=(len(ids), width))
        starts = range(0, len(ids), BLOCK)
        split = terms.stop - terms.start
        for done, start in enumerate(starts):
            mine = np.asarray(spooled[start : start + BLOCK], np.float32)
            for other in starts[done:]:
                others = np.asarray(spooled[other : other + BLOCK], np.float32)
                yield from _alike(ids, start, mine, other, others, split, thresholds)
            advanced((done + 1) / len(starts))


def _alike(
    ids: Sequence[str], start: int, mine: Matrix, other: int, others: Matrix, split: int, thresholds: Thresholds
) -> Iterator[Alike]:
    words = mine[:, :split] @ others[:, :split].T
    rows, columns = np.nonzero(words >= thresholds.words)
    once = rows + start < columns + other
    for row, column in zip(rows[once].tolist(), columns[once].tolist(), strict=True):
        picture = None
        if mine[row, split:].any() and others[column, split:].any():
            picture = float(mine[row, split:] @ others[column, split:])
            if picture < thresholds.picture:
                continue
        yield Alike(ids[start + row], ids[other + column], min(float(words[row, column]), 1.0), picture)


def groups(found: Sequence[Alike]) -> list[list[str]]:
    """Products that are alike directly or by way of others, each group in order of id, the largest first."""
    leader: dict[str, str] = {}

    def find(name: str) -> str:
        while leader.setdefault(name, name) != name:
            leader[name] = name = leader[leader[name]]
        return name

    for pair in found:
        first, second = sorted((find(pair.first), find(pair.second)))
        leader[second] = first
    gathered: dict[str, list[str]] = {}
    for name in sorted(leader):
        gathered.setdefault(find(name), []).append(name)
    return sorted(gathered.values(), key=lambda group: (-len(group), group[0]))
