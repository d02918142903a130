"""Exact search in this process: the index for `memory://`, and the answer that approximate ones are compared with."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from freshet.domain.representations import Layout, Matrix


class MemoryIndex:
    """ports.VectorIndex over a dictionary."""

    def __init__(self, layout: Layout) -> None:
        self._dimension = layout.searched
        self._rows: dict[int, NDArray[np.float32]] = {}

    async def ensure(self) -> None: ...

    async def activate(self) -> None: ...

    async def upsert(self, numbers: NDArray[np.int64], vectors: Matrix) -> None:
        for number, vector in zip(numbers.tolist(), vectors, strict=True):
            self._rows[number] = vector[: self._dimension].copy()

    async def delete(self, numbers: NDArray[np.int64]) -> None:
        for number in numbers.tolist():
            self._rows.pop(number, None)

    async def search(
        self, queries: Matrix, limit: int, timeout_seconds: float
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Numbers and scores, (queries, limit), best first; -1 where there are fewer."""
        numbers = np.full((len(queries), limit), -1, dtype=np.int64)
        scores = np.full((len(queries), limit), -np.inf, dtype=np.float32)
        if self._rows and len(queries):
            known = np.fromiter(self._rows, np.int64, len(self._rows))
            products = queries[:, : self._dimension] @ np.stack(list(self._rows.values())).T
            best = np.argsort(-products, axis=1, kind="stable")[:, :limit]
            numbers[:, : best.shape[1]] = known[best]
            scores[:, : best.shape[1]] = np.take_along_axis(products, best, axis=1)
        return numbers, scores

    async def count(self) -> int:
        return len(self._rows)

    async def close(self) -> None: ...
