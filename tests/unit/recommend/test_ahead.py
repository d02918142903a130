"""What is done ahead of requests, and behind them: neighbours found, affinities solved and renewed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import grpc
import numpy as np
import pytest

from freshet.domain.interactions import Kind
from freshet.recommend import behaviour
from freshet.recommend import under_way as under_way_module
from freshet.recommend.under_way import UnderWay
from freshet.v1 import recommendation_service_pb2 as pb


@asynccontextmanager
async def working_ahead(shop: Any) -> AsyncIterator[None]:
    task = asyncio.create_task(shop.recommender.run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(60.0):
        while not condition():  # noqa: ASYNC110 - nothing announces it
            await asyncio.sleep(0.01)


async def behaviour_of(shop: Any, user: str, product: str) -> float:
    """What others' choices add to a product's score for this shopper."""
    for shown in (await shop.ask.Recommend(pb.RecommendRequest(user_id=user, page_size=12))).products:
        if shown.product_id == product:
            return sum(part.value for part in shown.contributions if part.modality == "behaviour")
    raise AssertionError(f"{product} is not shown")


async def test_every_product_is_solved_and_sought_before_anybody_asks(shop: Any) -> None:
    shop.mirror.filled.set()
    async with working_ahead(shop):
        await until(lambda: len(shop.recommender._behaviour._solved) == 12)
        await until(lambda: len(shop.recommender.retriever._near) == 12)
    row = shop.mirror.row_of("boot-0")
    near = shop.recommender.retriever._near[row].rows
    vectors = shop.mirror.layout.weighted(shop.mirror.vectors[:12], shop.recommender._weights.modalities)
    scores = shop.mirror.vectors[near] @ vectors[row]
    assert len(near) == 12
    assert (np.diff(scores) <= 1e-6).all()


async def test_what_others_choose_reaches_answers_that_were_given_before(shop: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(behaviour, "RENEW_SECONDS", 0.05)
    await shop.did("ann", ("boot-0", Kind.CLICK))
    before = await behaviour_of(shop, "ann", "book-2")
    assert before == 0.0
    for user in ("u1", "u2", "u3", "u4"):
        await shop.did(user, ("boot-0", Kind.CLICK), ("book-2", Kind.CLICK))
    async with working_ahead(shop), asyncio.timeout(60.0):
        while await behaviour_of(shop, "ann", "book-2") <= before:  # noqa: ASYNC110 - nothing announces it
            await asyncio.sleep(0.01)


async def test_a_product_whose_words_change_is_solved_anew_at_once(shop: Any) -> None:
    await shop.did("ann", ("boot-0", Kind.CLICK))
    await shop.ask.Recommend(pb.RecommendRequest(user_id="ann"))
    number = shop.mirror.numbers[shop.mirror.row_of("boot-0")]
    solved = shop.recommender._behaviour._solved[number]
    shop.product("boot-0", 2)
    await shop.ask.Recommend(pb.RecommendRequest(user_id="ann"))
    assert shop.recommender._behaviour._solved[number] is not solved


async def test_work_ahead_gives_way_to_requests_but_not_for_ever() -> None:
    under_way = UnderWay()
    await under_way.none()
    with under_way.one():
        with under_way.one():
            pass
        waiting = asyncio.create_task(under_way.none())
        await asyncio.sleep(0)
        assert not waiting.done(), "one request is still being answered"
        await asyncio.wait_for(waiting, 60.0)
        waiting = asyncio.create_task(under_way.none())
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    await waiting


async def test_work_ahead_waits_until_a_catalogue_is_loaded(monkeypatch: Any) -> None:
    monkeypatch.setattr(under_way_module, "LOADED_SECONDS", 0.05)
    under_way = UnderWay()
    under_way.arrived(1)
    await asyncio.wait_for(under_way.loaded(), 60.0)
    begun = time.monotonic()
    under_way.arrived(under_way_module.MANY)
    await under_way.none()
    waiting = asyncio.create_task(under_way.loaded())
    await asyncio.sleep(0)
    under_way.arrived(under_way_module.MANY)
    await asyncio.wait_for(waiting, 60.0)
    assert time.monotonic() - begun >= 0.05


async def test_a_request_that_failed_is_under_way_no_more(shop: Any) -> None:
    with pytest.raises(grpc.aio.AioRpcError):
        await shop.ask.Recommend(pb.RecommendRequest(user_id="ann", page_token="none of ours"))
    assert shop.under_way._none.is_set()
