"""What an answer says of its own freshness, what it waits for, and what it is without the parts that are down."""

from __future__ import annotations

import asyncio
from typing import Any

from asking import TOPICS, ids, recommend, somebody_waits

from freshet.codec.tokens import write_token
from freshet.domain.interactions import Kind
from freshet.domain.progress import Position
from freshet.errors import DependencyDown
from freshet.v1 import recommendation_service_pb2 as pb
from freshet.v1 import stream_pb2

# --- freshness


async def test_an_answer_waits_for_the_callers_own_click(shop: Any) -> None:
    token = write_token([Position(TOPICS.interactions, 0, 0)])
    asking = asyncio.create_task(recommend(shop, page_size=2, at_least=[token]))
    await somebody_waits(shop)
    await shop.did("ann", ("lamp-0", Kind.CLICK))
    response = await asking
    assert set(ids(response)) == {"lamp-1", "lamp-2"}
    assert response.freshness.at_least_reached
    assert response.freshness.waited.nanos > 0
    assert response.freshness.interactions == [stream_pb2.Position(topic=TOPICS.interactions, partition=0, offset=1)]


async def test_when_time_is_up_the_answer_comes_all_the_same(shop: Any) -> None:
    token = write_token([Position(TOPICS.interactions, 0, 7)])
    response = await recommend(shop, at_least=[token], at_least_wait={"nanos": 30_000_000})
    assert not response.freshness.at_least_reached
    assert response.freshness.waited.nanos > 20_000_000
    assert response.products


async def test_the_callers_deadline_is_shorter_than_the_wait(shop: Any) -> None:
    token = write_token([Position(TOPICS.interactions, 0, 7)])
    # Later than that the call itself would fail.
    response = await recommend(shop, timeout=3.0, at_least=[token], at_least_wait={"seconds": 20})
    assert not response.freshness.at_least_reached


async def test_an_answer_waits_until_a_new_product_is_read(shop: Any) -> None:
    token = write_token([Position(TOPICS.products, 2, 5), Position(TOPICS.reviews, 1, 0)])
    asking = asyncio.create_task(recommend(shop, page_size=1, diversity=0.0, at_least=[token]))
    await somebody_waits(shop)
    read = shop.mirror.positions[0]
    shop.published((TOPICS.products, 2, 6), {0: read + 1})
    shop.published((TOPICS.reviews, 1, 1), {0: read + 2})
    shop.product("new-boot", 1, time_us=1_800_000_000_000_000, review_count=0)
    await asyncio.sleep(0)
    assert not asking.done()
    shop.product("new-boot", 1, time_us=1_800_000_000_000_000, review_count=1)
    response = await asking
    assert ids(response) == ["new-boot"]
    assert response.freshness.at_least_reached
    assert response.freshness.catalogue_event_time.seconds == 1_800_000_000


async def test_a_change_is_not_reached_before_what_came_of_it_is_read_whatever_comes_later(shop: Any) -> None:
    token = write_token([Position(TOPICS.products, 0, 3)])
    shop.published((TOPICS.products, 0, 3), {})
    early = await recommend(shop, at_least=[token], at_least_wait={"nanos": 30_000_000})
    assert not early.freshness.at_least_reached, "the record before it was published, it was not"
    shop.published((TOPICS.products, 0, 9), {0: shop.mirror.positions[0], 1: 1})
    late = await recommend(shop, at_least=[token], at_least_wait={"nanos": 30_000_000})
    assert not late.freshness.at_least_reached, "one partition was not read"
    shop.add(shop.representation("far-boot", 1), partition=1)
    assert (await recommend(shop, at_least=[token])).freshness.at_least_reached


async def test_a_change_that_caused_no_representation_is_reached_too(shop: Any) -> None:
    shop.published((TOPICS.products, 0, 4), {})
    token = write_token([Position(TOPICS.products, 0, 3)])
    assert (await recommend(shop, at_least=[token])).freshness.at_least_reached


# --- what is down


async def test_without_the_store_trends_are_served_and_said_to_be_degraded(shop: Any, monkeypatch: Any) -> None:
    await shop.did("ann", ("lamp-0", Kind.CLICK))

    def down(*_: Any) -> Any:
        raise DependencyDown("sql", "connection refused")

    for name in ("profile", "progress", "behaviour", "trending", "change_counter"):
        monkeypatch.setattr(shop.serving, name, down)
    response = await recommend(
        shop, page_size=1, at_least=[write_token([Position(TOPICS.interactions, 0, 0)])], at_least_wait={}
    )
    assert response.basis == pb.TRENDING
    assert ids(response) == ["lamp-0"]
    assert response.freshness.degraded
    assert response.freshness.degraded_reasons == ["sql: connection refused; answered without the shopper's profile"]


async def index_shop(open_shop: Any, **settings: Any) -> Any:
    shop = await open_shop(retrieval="index", **settings)
    for i in range(20):
        shop.product(f"p{i}", i % 8)
    rows = shop.mirror.count
    await shop.index.upsert(shop.mirror.numbers[:rows].astype("i8"), shop.mirror.vectors[:rows].copy())
    shop.mirror.settle({0: rows})
    await shop.did("ann", ("p0", Kind.CLICK))
    return shop


async def test_beyond_the_limit_the_index_is_asked(open_shop: Any) -> None:
    shop = await index_shop(open_shop)
    response = await recommend(shop, page_size=2)
    assert shop.index.searches == 1
    assert set(ids(response)) == {"p8", "p16"}
    assert not response.freshness.degraded


async def test_what_the_index_does_not_show_yet_is_found_all_the_same(open_shop: Any) -> None:
    shop = await index_shop(open_shop)
    shop.product("fresh", 0)
    response = await recommend(shop, page_size=3)
    fresh = next(product for product in response.products if product.product_id == "fresh")
    assert pb.FRESH in fresh.sources


async def test_with_the_index_down_or_slow_vectors_are_scanned_and_it_is_said(open_shop: Any) -> None:
    shop = await index_shop(open_shop)
    shop.index.down = True
    response = await recommend(shop, page_size=2)
    assert set(ids(response)) == {"p8", "p16"}
    assert response.freshness.degraded_reasons == ["milvus: connection refused; exact scan used"]
    shop.index.down, shop.index.seconds = False, 60.0
    # Later than that the call itself would fail.
    slow = await recommend(shop, page_size=2, timeout=5.0)
    assert set(ids(slow)) == {"p8", "p16"}
    assert slow.freshness.degraded


async def test_a_filter_that_leaves_few_is_scanned(open_shop: Any) -> None:
    shop = await index_shop(open_shop)
    shop.product("rare", 3, categories=["rare"])
    response = await recommend(shop, filter=pb.Filter(categories=["rare"]))
    assert ids(response) == ["rare"]
    assert shop.index.searches == 0
