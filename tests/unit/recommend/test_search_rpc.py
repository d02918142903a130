"""SearchProducts, asked over a real channel: real pictures, real mirror, a model of four words and two colours."""

from __future__ import annotations

import asyncio
import io
import math
from typing import Any

import grpc
import numpy as np
import pytest
from asking import ids, refused
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from PIL import Image

from freshet.codec.tokens import write_token
from freshet.domain.interactions import Kind
from freshet.v1 import product_pb2, stream_pb2
from freshet.v1 import recommendation_service_pb2 as pb


def picture(colour: tuple[int, int, int], kind: str = "PNG") -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (32, 32), colour).save(out, kind)
    return out.getvalue()


RED, BLUE = picture((200, 20, 20)), picture((20, 20, 200))


def parts(response: Any, place: int = 0) -> dict[str, float]:
    return {part.modality: part.value for part in response.products[place].contributions}


async def search(shop: Any, text: str = "", content: bytes = b"", timeout: float | None = 5.0, **arguments: Any) -> Any:
    request = pb.SearchProductsRequest(text=text, **arguments)
    if content:
        request.image.content = content
    return await shop.ask.SearchProducts(request, timeout=timeout)


# --- what is asked wrongly


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (pb.SearchProductsRequest(), "text"),
        (pb.SearchProductsRequest(text=" \n"), "text"),
        (pb.SearchProductsRequest(text="?! …"), "text"),
        (pb.SearchProductsRequest(text="x" * 10_001), "text"),
        (pb.SearchProductsRequest(text="boot", image=product_pb2.Image()), "image"),
        (pb.SearchProductsRequest(image=product_pb2.Image(content=b"GIF89a, or so it says")), "image"),
        (pb.SearchProductsRequest(image=product_pb2.Image(content=RED[: len(RED) // 2])), "image"),
        (pb.SearchProductsRequest(image=product_pb2.Image(content=b"\0" * (5 * 2**20 + 1))), "image"),
        (pb.SearchProductsRequest(image=product_pb2.Image(uri="http://127.0.0.1:1/x.png")), "image.uri"),
        (pb.SearchProductsRequest(image=product_pb2.Image(uri="http://localhost/x.png")), "image.uri"),
        (pb.SearchProductsRequest(image=product_pb2.Image(uri="http://[::ffff:10.0.0.1]/x.png")), "image.uri"),
        (pb.SearchProductsRequest(image=product_pb2.Image(uri="file:///etc/passwd")), "image.uri"),
        (pb.SearchProductsRequest(image=product_pb2.Image(uri="gopher://x/")), "image.uri"),
        (pb.SearchProductsRequest(text="boot", weights=pb.SearchWeights(caption=-1.0)), "weights.caption"),
        (pb.SearchProductsRequest(text="boot", weights=pb.SearchWeights(terms=math.nan)), "weights.terms"),
        (pb.SearchProductsRequest(text="boot", page_size=501), "page_size"),
        (pb.SearchProductsRequest(text="boot", page_token="AAAA"), "page_token"),
        (pb.SearchProductsRequest(text="boot", filter=pb.Filter(min_price=-1.0)), "filter.min_price"),
        (pb.SearchProductsRequest(text="boot", at_least=["no token"]), "at_least[0]"),
        (pb.SearchProductsRequest(text="boot", model_wait={"seconds": 11}), "model_wait"),
    ],
)
async def test_a_request_that_breaks_a_rule_is_refused_and_the_field_is_named(
    shop: Any, request_: pb.SearchProductsRequest, field: str
) -> None:
    code, named, description = await refused(shop.ask.SearchProducts(request_, timeout=30.0))
    assert (code, named) == (grpc.StatusCode.INVALID_ARGUMENT, field)
    assert description


# --- what is found


async def test_words_find_the_products_that_have_them_and_say_so(shop: Any) -> None:
    response = await search(shop, "a BOOT, please", page_size=3)
    assert set(ids(response)) == {"boot-0", "boot-1", "boot-2"}
    assert parts(response).keys() >= {"terms", "text"}
    assert response.products[0].reason == "Has “boot”."
    assert {pb.NEAR_QUERY, pb.WORDS} <= set(response.products[0].sources)
    assert not response.freshness.degraded


async def test_a_rare_word_finds_its_one_product_before_what_is_alike(shop: Any) -> None:
    shop.product("odd", 2, title="Boot Zanzibar-7")
    assert ids(await search(shop, "zanzibar boot"))[0] == "odd"
    assert ids(await search(shop, "zanzibar", page_size=1)) == ["odd"]


async def test_a_picture_finds_products_that_look_like_it(shop: Any) -> None:
    red = await search(shop, content=RED, page_size=8)
    assert set(ids(red)) == {f"{name}-{i}" for name in ("shirt", "boot", "lamp", "book") for i in (0, 2)}
    assert red.products[0].reason == "Looks like the picture."
    assert set(parts(red)) == {"image"}
    blue = await search(shop, content=picture((20, 20, 200), "JPEG"), page_size=4)
    assert set(ids(blue)) == {"shirt-1", "boot-1", "lamp-1", "book-1"}


async def test_words_and_a_picture_find_what_fits_both(shop: Any) -> None:
    response = await search(shop, "lamp", BLUE, page_size=1)
    assert ids(response) == ["lamp-1"]
    assert {"terms", "text", "image"} <= set(parts(response))


async def test_words_alone_find_pictures_by_where_they_would_lie(shop: Any) -> None:
    only_caption = pb.SearchWeights(terms=0.0, text=0.0)
    # The model's second word lies where its second colour does.
    response = await search(shop, "boot", weights=only_caption, page_size=4)
    assert set(ids(response)) == {"shirt-1", "boot-1", "lamp-1", "book-1"}
    assert set(parts(response)) == {"caption"}


@pytest.mark.parametrize("name", ["terms", "text", "caption", "image", "trending"])
async def test_a_weight_of_zero_switches_a_part_off(shop: Any, name: str) -> None:
    await shop.did("u1", ("boot-1", Kind.VIEW))
    with_it = await search(shop, "boot", BLUE, page_size=12)
    assert any(name in parts(with_it, place) for place in range(12))
    without = await search(shop, "boot", BLUE, page_size=12, weights=pb.SearchWeights(**{name: 0.0}))
    assert not any(name in parts(without, place) for place in range(len(without.products)))


async def test_the_score_is_exactly_the_sum_of_its_contributions(shop: Any) -> None:
    await shop.did("u1", ("boot-1", Kind.VIEW))
    response = await search(shop, "red boot", RED, page_size=12)
    scores = [product.score for product in response.products]
    assert scores == sorted(scores, reverse=True)
    for product in response.products:
        total = 0.0
        for part in product.contributions:
            total += part.value
        assert product.score == total


# --- freshness, availability, filters


async def test_a_product_just_read_is_found_at_once_though_the_index_has_nothing_of_it(open_shop: Any) -> None:
    shop = await open_shop(retrieval="index")
    for i in range(30):
        shop.product(f"lamp-{i}", 2)
    await shop.index.upsert(shop.mirror.numbers[:30].astype(np.int64), shop.mirror.vectors[:30])
    shop.mirror.settle({0: shop.offsets[0]})
    place = shop.product("boot-new", 1, image=1)
    response = await search(shop, "boot", at_least=[write_token([place])], page_size=1)
    assert ids(response) == ["boot-new"]
    assert pb.FRESH in response.products[0].sources
    assert response.freshness.representations[0].offset == place.offset + 1
    assert ids(await search(shop, content=BLUE, page_size=1)) == ["boot-new"]


async def test_the_answer_says_what_the_index_showed(open_shop: Any) -> None:
    shop = await open_shop(retrieval="index")
    shop.product("boot-0", 1)
    shop.pulse.indexed = {0: 1}
    assert [(place.partition, place.offset) for place in (await search(shop, "boot")).indexed] == [(0, 1)]
    shop.index.down = True
    response = await search(shop, "boot")
    assert not response.indexed
    assert ids(response) == ["boot-0"]
    assert "milvus" in response.freshness.degraded_reasons[0]


async def test_products_that_are_unavailable_or_removed_are_not_found(shop: Any) -> None:
    shop.product("boot-0", 1, available=False)
    shop.add(
        stream_pb2.Representation(
            product_id="boot-1", product_number=shop.number("boot-1"), model_version="m1", removed=True
        )
    )
    assert ids(await search(shop, "boot", page_size=1)) == ["boot-2"]
    assert not {"boot-0", "boot-1"} & set(ids(await search(shop, "boot", RED, page_size=50)))


async def test_a_title_that_changed_is_found_by_its_new_words_alone(shop: Any) -> None:
    shop.product("boot-0", 1, title="Wellington")
    assert ids(await search(shop, "wellington", page_size=1)) == ["boot-0"]
    response = await search(shop, "boot-0", weights=pb.SearchWeights(text=0.0, caption=0.0), page_size=50)
    assert "boot-0" not in [p.product_id for p in response.products if p.reason.startswith("Has")]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (pb.Filter(categories=["lamp"]), {"lamp-0", "lamp-1", "lamp-2"}),
        (pb.Filter(brands=["brand-2"]), {"shirt-2", "boot-2", "lamp-2", "book-2"}),
        (pb.Filter(min_price=40.0, max_price=41.0), {"book-0", "book-1"}),
        (pb.Filter(categories=["boot"], excluded_product_ids=["boot-1"]), {"boot-0", "boot-2"}),
        (pb.Filter(categories=["unheard-of"]), set()),
    ],
)
async def test_a_filter_lets_only_these_pass(shop: Any, wanted: pb.Filter, expected: set[str]) -> None:
    assert set(ids(await search(shop, "boot", RED, page_size=50, filter=wanted))) == expected


# --- pages


async def test_pages_follow_each_other_without_gap_or_repetition(shop: Any) -> None:
    whole = ids(await search(shop, "boot", RED, page_size=12))
    first = await search(shop, "boot", RED, page_size=5)
    shop.product("boot-new", 1)
    second = await search(shop, "boot", RED, page_size=5, page_token=first.next_page_token)
    third = await search(shop, "boot", RED, page_size=5, page_token=second.next_page_token)
    assert ids(first) + ids(second) + ids(third) == whole
    assert not third.next_page_token


async def test_a_page_token_is_refused_with_another_picture(shop: Any) -> None:
    first = await search(shop, "boot", RED, page_size=2)
    code, field, _ = await refused(search(shop, "boot", BLUE, page_size=2, page_token=first.next_page_token))
    assert (code, field) == (grpc.StatusCode.INVALID_ARGUMENT, "page_token")


# --- the model away, slow, or another


async def test_a_query_asked_again_needs_no_model(shop: Any) -> None:
    before = await search(shop, "boot", RED)
    shop.model.calls.clear()
    shop.model.down = True
    after = await search(shop, "boot", RED)
    assert ids(after) == ids(before)
    assert not after.freshness.degraded
    assert shop.model.calls == []


async def test_only_so_many_encodings_are_kept(open_shop: Any) -> None:
    shop = await open_shop(queries_kept=2)
    shop.product("boot-0", 1)
    for text in ("boot", "lamp", "shirt"):
        await search(shop, text)
    shop.model.calls.clear()
    await search(shop, "shirt")
    assert shop.model.calls == []
    await search(shop, "boot")
    assert "text" in shop.model.calls


async def test_without_the_model_words_are_found_in_titles_and_the_answer_says_so(shop: Any) -> None:
    shop.model.down = True
    response = await search(shop, "lamp", BLUE, page_size=3)
    assert set(ids(response)) == {"lamp-0", "lamp-1", "lamp-2"}
    assert set(parts(response)) == {"terms"}
    assert response.freshness.degraded
    assert "the very words alone" in response.freshness.degraded_reasons[0]
    assert "without the picture" in response.freshness.degraded_reasons[1]


async def test_a_picture_alone_needs_the_model(shop: Any) -> None:
    shop.model.down = True
    with pytest.raises(grpc.aio.AioRpcError, match="connection refused") as raised:
        await search(shop, content=RED)
    assert raised.value.code() == grpc.StatusCode.UNAVAILABLE
    assert rpc_status.from_call(raised.value).details[0].Is(error_details_pb2.RetryInfo.DESCRIPTOR)
    shop.model.down = False
    assert (await search(shop, content=RED)).products


async def test_a_model_of_another_version_is_not_searched_by(shop: Any) -> None:
    shop.model.wrong = True
    response = await search(shop, "lamp", page_size=3)
    assert set(ids(response)) == {"lamp-0", "lamp-1", "lamp-2"}
    assert "another version" in response.freshness.degraded_reasons[0]
    assert "text" not in shop.model.calls


async def test_what_was_read_before_another_model_was_noticed_is_forgotten(
    shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("freshet.recommend.query.TRUSTED_SECONDS", 0.0)
    await search(shop, "lamp")
    shop.model.wrong = True
    assert (await search(shop, "book")).freshness.degraded
    assert (await search(shop, "lamp")).freshness.degraded
    shop.model.wrong = False
    assert not (await search(shop, "lamp")).freshness.degraded


async def test_a_model_slower_than_it_may_be_is_left_out(shop: Any) -> None:
    shop.model.seconds = 60.0
    response = await search(shop, "lamp", page_size=3, model_wait={"nanos": 20_000_000})
    assert set(ids(response)) == {"lamp-0", "lamp-1", "lamp-2"}
    assert "no answer within" in response.freshness.degraded_reasons[0]


async def test_a_deadline_is_kept_whatever_the_model_does(shop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # So much is kept back for the answer that it comes in time on a busy machine too.
    monkeypatch.setattr("freshet.recommend.clock.ANSWER_SECONDS", 2.5)
    shop.model.seconds = 60.0
    response = await search(shop, "lamp", timeout=3.0, model_wait={"seconds": 10}, page_size=3)
    assert len(response.products) == 3
    assert response.freshness.degraded


async def test_searches_at_once_do_not_disturb_each_other(shop: Any) -> None:
    words = ("shirt", "boot", "lamp", "book")
    answers = await asyncio.gather(*(search(shop, words[i % 4], page_size=3) for i in range(40)))
    for i, answer in enumerate(answers):
        assert {product.title.partition("-")[0].lower() for product in answer.products} == {words[i % 4]}
