"""What is remembered of a search stays exact while products come, change and go."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from freshet.adapters.memory_index import MemoryIndex
from freshet.domain.progress import Position
from freshet.domain.representations import Layout, Matrix, Modality, Segment, pack
from freshet.domain.scoring import RankingWeights
from freshet.errors import DependencyDown
from freshet.recommend.mirror import LOGGED_CHANGES, Mirror
from freshet.recommend.retrieval import Retriever
from freshet.recommend.under_way import UnderWay
from freshet.settings import RecommendSettings
from freshet.v1.stream_pb2 import Representation

LAYOUT = Layout("m1", (Segment(Modality.TEXT, 8), Segment(Modality.IMAGE, 4), Segment(Modality.JOINT, 4)))
LIMIT = 5


@dataclass(frozen=True)
class Rec:
    """A record as the mirror wants one."""

    position: Position
    key: bytes | None
    value: bytes | None


class Counting(MemoryIndex):
    """Says how many queries it was asked."""

    asked = 0
    down = False

    async def search(
        self, queries: Matrix, limit: int, timeout_seconds: float
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        if self.down:
            raise DependencyDown("index", "away")
        self.asked += len(queries)
        return await super().search(queries, limit, timeout_seconds)


@dataclass
class Catalogue:
    """A mirror and an index that is behind it until `settle`."""

    mirror: Mirror
    index: Counting
    retriever: Retriever
    random: np.random.Generator
    offset: int = 0

    def change(self, number: int, *, removed: bool = False) -> None:
        vector = LAYOUT.assemble(
            {s.name: self.random.standard_normal(s.size).astype(np.float32) for s in LAYOUT.segments}
        )
        self.publish(number, vector, removed=removed)

    def restock(self, number: int, available: bool) -> None:
        """The same vector again; nothing for a product that was removed."""
        row = self.mirror.rows_of(np.array([number]))[0]
        if self.mirror.known(row):
            self.publish(number, self.mirror.vectors[row], available=available)

    def publish(
        self, number: int, vector: NDArray[np.float32], *, removed: bool = False, available: bool = True
    ) -> None:
        message = Representation(
            product_id=f"p{number}", product_number=number, model_version="m1", removed=removed, available=available
        )
        if not removed:
            message.vector = pack(vector)
        record = Rec(Position("r", 0, self.offset), f"p{number}".encode(), message.SerializeToString())
        self.mirror.apply([record])
        self.offset += 1

    async def settle(self) -> None:
        """The index takes in everything."""
        count = self.mirror.count
        numbers = self.mirror.numbers[:count].astype(np.int64)
        live = self.mirror.live[:count]
        await self.index.upsert(numbers[live], self.mirror.vectors[:count][live])
        await self.index.delete(numbers[~live])
        self.mirror.settle({0: self.offset})

    async def search(
        self, numbers: list[int], allowed: NDArray[np.bool_] | None = None
    ) -> tuple[list[set[int]], Matrix]:
        rows = self.mirror.rows_of(np.array(numbers))
        vectors = self.mirror.vectors[rows]
        mask = self.mirror.live[: self.mirror.count].copy() if allowed is None else allowed
        missing: list[str] = []
        search = self.retriever.begin(
            rows, vectors, mask, LIMIT, 2, usual=True, narrow=False, seconds=1.0, missing=missing
        )
        found, fresh = await self.retriever.finish(search, missing)
        return [set(near.tolist()) | set(fresh.tolist()) for near in found], vectors

    def best(self, vector: NDArray[np.float32], allowed: NDArray[np.bool_], limit: int = LIMIT) -> set[int]:
        rows = np.flatnonzero(allowed)
        return set(rows[np.argsort(-(self.mirror.vectors[rows] @ vector))[:limit]].tolist())


def catalogue(retrieval: str, products: int = 40) -> Catalogue:
    mirror, index = Mirror(LAYOUT, "r"), Counting(LAYOUT)
    settings = RecommendSettings(retrieval=retrieval, exact_scan_products=0, candidates_per_source=12)  # type: ignore[arg-type]
    made = Catalogue(mirror, index, Retriever(mirror, index, settings, UnderWay()), np.random.default_rng(3))
    for number in range(1, products + 1):
        made.change(number)
    return made


steps = st.lists(
    st.one_of(
        st.tuples(st.just("change"), st.integers(1, 60)),
        st.tuples(st.just("remove"), st.integers(1, 40)),
        st.tuples(st.just("sold out"), st.integers(1, 40)),
        st.tuples(st.just("back"), st.integers(1, 40)),
        st.tuples(st.just("settle"), st.just(0)),
        st.tuples(st.just("search"), st.integers(1, 40)),
    ),
    max_size=40,
)


@pytest.mark.parametrize("retrieval", ["exact", "index"])
@given(steps)
@settings(max_examples=100, deadline=None)
def test_the_best_are_always_among_what_is_found(retrieval: str, listed: list[tuple[str, int]]) -> None:
    async def run() -> None:
        shop = catalogue(retrieval)
        await shop.settle()
        for action, number in listed:
            if action == "change":
                shop.change(number)
            elif action == "remove":
                shop.change(number, removed=True)
            elif action in ("sold out", "back"):
                shop.restock(number, action == "back")
            elif action == "settle":
                await shop.settle()
            else:
                # A removed product has no vector: everything is equally near to it.
                asked = [
                    n for n in (number, 1 + number % 40) if shop.mirror.live[shop.mirror.rows_of(np.array([n]))[0]]
                ]
                if not asked:
                    continue
                allowed = shop.mirror.live[: shop.mirror.count].copy()
                found, vectors = await shop.search(asked)
                # What is sold out is near all the same, in the index and in memory.
                sold_out = sum(shop.mirror.known(row) for row in np.flatnonzero(~allowed).tolist())
                for near, vector in zip(found, vectors, strict=True):
                    assert shop.best(vector, allowed, max(LIMIT - sold_out, 0)) <= near

    asyncio.run(run())


async def test_what_was_found_is_remembered_until_the_product_itself_changes() -> None:
    shop = catalogue("index")
    await shop.settle()
    await shop.search([1, 2])
    assert shop.index.asked == 2
    shop.change(9)
    await shop.search([1, 2])
    assert shop.index.asked == 2, "another product's change is looked at here"
    shop.change(1)
    await shop.search([1, 2])
    assert shop.index.asked == 3


async def test_what_changes_no_vector_is_no_reason_to_compare_again() -> None:
    shop = catalogue("index")
    await shop.settle()
    shop.restock(9, True)
    assert not len(shop.mirror.unsettled())
    shop.restock(9, False)
    await shop.settle()
    shop.restock(9, True)
    assert shop.mirror.unsettled().tolist() == shop.mirror.rows_of(np.array([9])).tolist()


async def test_neighbours_are_found_ahead_through_the_index_too() -> None:
    shop = catalogue("index")
    await shop.settle()
    shop.mirror.filled.set()
    ahead = asyncio.create_task(shop.retriever.run(RankingWeights(dict.fromkeys(Modality, 1.0))))
    async with asyncio.timeout(60.0):
        while shop.index.asked < 40:  # noqa: ASYNC110 - nothing announces it
            await asyncio.sleep(0.01)
    ahead.cancel()
    found, vectors = await shop.search([1, 7])
    assert shop.index.asked == 40
    for near, vector in zip(found, vectors, strict=True):
        assert shop.best(vector, shop.mirror.live[: shop.mirror.count]) <= near


async def test_after_very_many_changes_the_index_is_asked_again() -> None:
    shop = catalogue("index")
    await shop.settle()
    await shop.search([1])
    for number in range(100, 100 + LOGGED_CHANGES + 1):
        shop.change(number)
    await shop.settle()
    found, vectors = await shop.search([1])
    assert shop.index.asked == 2
    assert shop.best(vectors[0], shop.mirror.live[: shop.mirror.count]) <= found[0]


async def test_a_filter_that_leaves_little_is_answered_by_a_scan() -> None:
    shop = catalogue("index")
    await shop.settle()
    allowed = np.zeros(shop.mirror.count, np.bool_)
    allowed[[30, 31, 32]] = True
    found, _ = await shop.search([1], allowed)
    assert found[0] == {30, 31, 32}


async def test_without_the_index_a_scan_answers_and_nothing_is_remembered() -> None:
    shop = catalogue("index")
    await shop.settle()
    shop.index.down = True
    found, vectors = await shop.search([1])
    assert shop.best(vectors[0], shop.mirror.live[: shop.mirror.count]) <= found[0]
    shop.index.down = False
    await shop.search([1])
    assert shop.index.asked == 1
