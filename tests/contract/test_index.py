"""One suite for every index: the exact one in this process, and a real Milvus."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator

import numpy as np
import pytest
from pymilvus import AsyncMilvusClient

from freshet.adapters.memory_index import MemoryIndex
from freshet.adapters.milvus import MilvusIndex
from freshet.domain.representations import Layout, Modality, Segment
from freshet.errors import DependencyDown, ModelMismatch
from freshet.ports import VectorIndex

SIZE = 8


def layout(size: int = SIZE) -> Layout:
    return Layout(f"m{uuid.uuid4().hex[:8]}", (Segment(Modality.TEXT, size - 2), Segment(Modality.TERMS, 2)))


@pytest.fixture(params=["memory", pytest.param("milvus", marks=pytest.mark.stack)])
async def index(request: pytest.FixtureRequest) -> AsyncIterator[VectorIndex]:
    opened: VectorIndex
    if request.param == "memory":
        opened = MemoryIndex(layout())
    else:
        opened = MilvusIndex(request.getfixturevalue("milvus"), layout())
    await opened.ensure()
    yield opened
    await opened.close()


async def found(index: VectorIndex, query: np.ndarray, expected: list[int]) -> list[int]:
    """The numbers near a query, once they are as expected; an index may show a change a little later."""
    async with asyncio.timeout(60):
        while True:
            numbers, scores = await index.search(query[None], len(expected) + 1, 5.0)
            assert numbers.shape == scores.shape == (1, len(expected) + 1)
            if numbers[0].tolist() == [*expected, -1]:
                return expected
            await asyncio.sleep(0.05)


async def test_rows_are_found_by_inner_product_best_first_and_missing_places_are_marked(index: VectorIndex) -> None:
    axes = np.eye(SIZE, dtype=np.float32)
    await index.upsert(np.array([5, 7, 9]), np.stack([axes[0], 0.5 * axes[0], -axes[0]]))
    assert await found(index, axes[0], [5, 7, 9]) == [5, 7, 9]


async def test_terms_are_not_compared(index: VectorIndex) -> None:
    axes = np.eye(SIZE, dtype=np.float32)
    await index.upsert(np.array([1, 2]), np.stack([axes[0] + 5.0 * axes[-1], 2.0 * axes[0]]))
    assert await found(index, axes[0] + axes[-1], [2, 1]) == [2, 1]


async def test_an_upsert_replaces_and_a_delete_removes(index: VectorIndex) -> None:
    axes = np.eye(SIZE, dtype=np.float32)
    await index.upsert(np.array([1, 2]), np.stack([axes[0], axes[1]]))
    await index.upsert(np.array([1]), 0.5 * axes[1][None])
    await found(index, axes[1], [2, 1])
    await index.delete(np.array([2, 404]))
    await found(index, axes[1], [1])
    await index.delete(np.empty(0, dtype=np.int64))


async def test_more_rows_than_one_call_holds_are_all_there(index: VectorIndex) -> None:
    vectors = np.random.default_rng(1).standard_normal((1_201, SIZE)).astype(np.float32)
    await index.upsert(np.arange(1_201), vectors)
    async with asyncio.timeout(60):
        while True:
            if await index.count() == 1_201:
                return
            await asyncio.sleep(0.05)


@pytest.mark.stack
async def test_what_a_load_leaves_in_growing_segments_is_sealed_and_gets_its_graph(
    milvus: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("freshet.adapters.milvus.PAUSE_SECONDS", 0.1)
    rows = 6_000
    index = MilvusIndex(milvus, layout())
    await index.ensure()
    vectors = np.random.default_rng(0).standard_normal((rows, SIZE)).astype(np.float32)
    await index.upsert(np.arange(1, rows + 1), vectors)
    client = AsyncMilvusClient(milvus.replace("milvus://", "http://"))
    try:
        async with asyncio.timeout(120):
            while True:
                described = await client.describe_index(index.collection, "vector")
                if int(described["indexed_rows"]) >= rows:
                    break
                await asyncio.sleep(0.2)
    finally:
        await client.close()
        await index.close()


@pytest.mark.stack
async def test_milvus_keeps_one_collection_per_model_version_behind_one_alias(milvus: str) -> None:
    first, second = MilvusIndex(milvus, layout()), MilvusIndex(milvus, layout())
    try:
        await first.ensure()
        await first.activate()
        await second.ensure()
        assert await second._active() == first.collection
        await second.activate()
        assert await first._active() == second.collection
        other = MilvusIndex(milvus, Layout(second.collection.removeprefix("freshet_"), layout(4).segments))
        with pytest.raises(ModelMismatch, match="6 dimensions, the model 2"):
            await other.ensure()
        await other.close()
    finally:
        await first.close()
        await second.close()


async def test_a_milvus_that_is_not_there_is_a_dependency_that_is_down() -> None:
    index = MilvusIndex("milvus://127.0.0.1:1", layout(), timeout_seconds=1.0)
    with pytest.raises(DependencyDown, match="milvus is not available"):
        await index.search(np.zeros((1, SIZE), np.float32), 1, 1.0)
    await index.close()
