"""Candidate generation: which products are worth scoring, and where each was found.

May import `mirror` and the contract. Every source gives rows; the union of what may be shown is ranked.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from freshet.domain.representations import Matrix, used_dimensions
from freshet.recommend.mirror import Mirror
from freshet.v1 import recommendation_service_pb2 as pb

SOURCES = (
    pb.CandidateSource.INTEREST,
    pb.CandidateSource.SIMILAR,
    pb.CandidateSource.CO_VISIT,
    pb.CandidateSource.TRENDING_NOW,
    pb.CandidateSource.FRESH,
    pb.CandidateSource.NEAR_QUERY,
    pb.CandidateSource.WORDS,
)
"""Bit i of a candidate's source mask is SOURCES[i]."""
_BIT = {int(source): np.uint8(1 << i) for i, source in enumerate(SOURCES)}
TOTAL = 500
"""About this many candidates are sought near all queries together."""
FEWEST_PER_QUERY = 40


@dataclass(frozen=True, slots=True)
class Candidates:
    """Distinct `rows` and, for each, a mask of the `sources` that found it."""

    rows: NDArray[np.intp]
    sources: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.rows)


def per_query(queries: int, longest: int, page_size: int) -> int:
    """How many neighbours to seek of each query: many of few, few of many, never less than a page."""
    return max(min(longest, TOTAL // max(queries, 1)), FEWEST_PER_QUERY, page_size)


def union(count: int, found: Iterable[tuple[int, NDArray[np.intp]]], allowed: NDArray[np.bool_]) -> Candidates:
    """Merge (source, rows) pairs. `allowed` is a mask over rows; rows that came after it was made are left out."""
    mask = np.zeros(count, np.uint8)
    for source, rows in found:
        mask[rows] |= _BIT[source]
    mask[: len(allowed)][~allowed] = 0
    mask[len(allowed) :] = 0
    rows = np.flatnonzero(mask)
    return Candidates(rows, mask[rows])


def scan(mirror: Mirror, queries: Matrix, allowed: NDArray[np.bool_], limit: int) -> list[NDArray[np.intp]]:
    """For each query its `limit` best rows among the allowed, by inner product, exactly; best first is not promised."""
    count = len(allowed)
    allowed_count, used = int(np.count_nonzero(allowed)), used_dimensions(queries)
    if allowed_count <= limit:
        rows = np.flatnonzero(allowed)
        return [rows] * len(queries)
    if allowed_count < count // 3:
        rows = np.flatnonzero(allowed)
        best = np.argpartition(queries[:, :used] @ mirror.vectors[rows, :used].T, allowed_count - limit, axis=1)
        return list(rows[best[:, allowed_count - limit :]])
    # This way round BLAS reads the vectors once, and in order.
    scores = mirror.vectors[:count, :used] @ queries[:, :used].T
    scores[~allowed] = -np.inf
    return list(np.argpartition(scores.T, count - limit, axis=1)[:, count - limit :])


def scan_rows(mirror: Mirror, queries: Matrix, rows: NDArray[np.intp], limit: int) -> NDArray[np.intp]:
    """The `limit` rows among `rows` that are nearest to any query."""
    if len(rows) <= limit:
        return rows
    best = (queries @ mirror.vectors[rows].T).max(axis=0)
    return rows[np.argpartition(best, len(rows) - limit)[len(rows) - limit :]]


def near(found: list[NDArray[np.intp]], interests: int) -> list[tuple[int, NDArray[np.intp]]]:
    """Name the source of each query's rows: the first `interests` queries are interests."""
    return [(int(pb.INTEREST) if i < interests else int(pb.SIMILAR), rows) for i, rows in enumerate(found)]
