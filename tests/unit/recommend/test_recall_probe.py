"""The recall probe: what it counts as found, and when it says nothing."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from prometheus_client import REGISTRY

from freshet.domain.representations import Matrix
from freshet.errors import DependencyDown
from freshet.recommend import measures
from freshet.recommend.probe import NEAREST, RecallProbe


class Index:
    """Answers from the mirror, without the best `forgotten`; or not at all."""

    def __init__(self, mirror: Any, forgotten: int = 0, *, away: bool = False) -> None:
        self._mirror, self._forgotten, self._away = mirror, forgotten, away

    async def search(self, queries: Matrix, limit: int, timeout_seconds: float) -> Any:
        if self._away:
            raise DependencyDown("milvus", "nobody answers")
        scores = self._mirror.vectors[: self._mirror.count] @ queries[0]
        best: NDArray[np.intp] = np.argsort(-scores)[self._forgotten :][:limit]
        numbers = np.full((1, limit), -1, np.int64)
        numbers[0, : len(best)] = self._mirror.numbers[best]
        return numbers, np.zeros((1, limit), np.float32)


@pytest.fixture
def mirror(shop: Any) -> Any:
    """Forty products in directions of their own, all shown by the index, everything read."""
    random = np.random.default_rng(7)
    for i in range(40):
        shop.product(f"many-{i}", i % 8, price=float(i))
    shop.mirror.vectors[: shop.mirror.count] = random.normal(size=(shop.mirror.count, 16))
    shop.mirror.settle({0: 10_000})
    shop.mirror.filled.set()
    return shop.mirror


async def test_nothing_is_told_of_an_index_before_it_was_compared(shop: Any) -> None:
    """A ratio of 0 would be an index that finds nothing."""
    measures.recall.cache_clear()
    with suppress(KeyError):
        REGISTRY.unregister(REGISTRY._names_to_collectors["freshet_index_recall_ratio"])
    before = REGISTRY.get_sample_value("freshet_index_probes_total", {"outcome": "too_few"})
    assert await RecallProbe(shop.mirror, Index(shop.mirror)).look() is None
    assert REGISTRY.get_sample_value("freshet_index_probes_total", {"outcome": "too_few"}) == (before or 0.0) + 1
    assert REGISTRY.get_sample_value("freshet_index_recall_ratio") is None


async def test_an_index_that_finds_all_has_recall_one(mirror: Any) -> None:
    assert await RecallProbe(mirror, Index(mirror), seed=1).look() == 1.0
    assert REGISTRY.get_sample_value("freshet_index_recall_ratio") == 1.0


async def test_each_neighbour_that_is_not_found_costs_a_tenth(mirror: Any) -> None:
    assert await RecallProbe(mirror, Index(mirror, forgotten=3), seed=1).look() == pytest.approx(1 - 3 / NEAREST)


async def test_what_changed_lately_is_not_held_against_the_index(mirror: Any, shop: Any) -> None:
    best = RecallProbe(mirror, Index(mirror, forgotten=40), seed=1)
    assert (await best.look() or 0.0) < 0.5
    shop.product("changed", 3)
    assert mirror.unsettled().size == 1
    assert await RecallProbe(mirror, Index(mirror), seed=1).look() == 1.0


async def test_an_index_that_is_away_leaves_the_last_value_and_is_counted(mirror: Any) -> None:
    await RecallProbe(mirror, Index(mirror, forgotten=5), seed=1).look()
    before = measures.PROBES.labels("index_away")._value.get()
    assert await RecallProbe(mirror, Index(mirror, away=True), seed=1).look() is None
    assert measures.PROBES.labels("index_away")._value.get() == before + 1
    assert REGISTRY.get_sample_value("freshet_index_recall_ratio") == 0.5
