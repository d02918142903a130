"""Recommend and ListSimilarProducts, asked over a real channel."""

from __future__ import annotations

import math
from typing import Any

import grpc
import pytest
from asking import TOPICS, ids, recommend, refused
from grpc_health.v1 import health_pb2, health_pb2_grpc

from freshet.codec.tokens import write_token
from freshet.domain.interactions import Kind
from freshet.domain.progress import Position
from freshet.domain.scoring import RankingWeights
from freshet.v1 import recommendation_service_pb2 as pb
from freshet.v1 import stream_pb2

# --- what is asked wrongly


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"user": ""}, "user_id"),
        ({"user": "x" * 257}, "user_id"),
        ({"user": "a\nb"}, "user_id"),
        ({"page_size": 501}, "page_size"),
        ({"page_token": "%%%"}, "page_token"),
        ({"page_token": "AAAA"}, "page_token"),
        ({"filter": pb.Filter(min_price=-1.0)}, "filter.min_price"),
        ({"filter": pb.Filter(max_price=math.nan)}, "filter.max_price"),
        ({"filter": pb.Filter(min_price=5.0, max_price=4.0)}, "filter.min_price"),
        ({"filter": pb.Filter(excluded_product_ids=["x"] * 10_001)}, "filter.excluded_product_ids"),
        ({"weights": pb.ModalityWeights(text=-0.1)}, "weights.text"),
        ({"weights": pb.ModalityWeights(behaviour=100.5)}, "weights.behaviour"),
        ({"weights": pb.ModalityWeights(image=math.inf)}, "weights.image"),
        ({"diversity": 1.5}, "diversity"),
        ({"diversity": math.nan}, "diversity"),
        ({"at_least": ["not a token"]}, "at_least[0]"),
        ({"at_least_wait": {"seconds": 31}}, "at_least_wait"),
        ({"at_least_wait": {"seconds": -1}}, "at_least_wait"),
    ],
)
async def test_a_request_that_breaks_a_rule_is_refused_and_the_field_is_named(
    shop: Any, arguments: dict[str, Any], field: str
) -> None:
    code, named, description = await refused(recommend(shop, **arguments))
    assert (code, named) == (grpc.StatusCode.INVALID_ARGUMENT, field)
    assert description


async def test_a_token_of_an_unknown_topic_is_refused(shop: Any) -> None:
    good = write_token([Position(TOPICS.interactions, 0, 0)])
    bad = write_token([Position("orders", 0, 4)])
    code, field, description = await refused(recommend(shop, at_least=[good, bad]))
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert field == "at_least[1]"
    assert "'orders'" in description


# --- whom nothing is known of


async def test_an_empty_catalogue_gives_an_empty_answer(open_shop: Any) -> None:
    response = await recommend(await open_shop())
    assert not response.products
    assert response.basis == pb.CATALOGUE
    assert response.freshness.at_least_reached


async def test_when_nothing_is_known_about_demand_the_newest_products_come_first(shop: Any) -> None:
    response = await recommend(shop, page_size=3, diversity=0.0)
    assert ids(response) == ["book-2", "book-1", "book-0"]
    assert response.basis == pb.CATALOGUE
    assert response.products[0].reason == "New in the catalogue."


async def test_an_answer_shows_what_reviews_come_to_and_nothing_where_there_are_none(open_shop: Any) -> None:
    shop = await open_shop()
    shop.add(shop.representation("praised", 0, review_count=7, rating=4.5, review_sentiment=0.83))
    shop.add(shop.representation("silent", 1))
    shown = {product.product_id: product for product in (await recommend(shop, "new")).products}
    assert (shown["praised"].review_count, shown["praised"].rating) == (7, 4.5)
    assert shown["praised"].review_sentiment == 0.83
    assert not shown["silent"].HasField("review_sentiment")


async def test_a_new_shopper_gets_what_trends(shop: Any) -> None:
    for user in ("u1", "u2", "u3"):
        await shop.did(user, ("lamp-1", Kind.VIEW))
    await shop.did("u4", ("boot-0", Kind.VIEW))
    response = await recommend(shop, "nobody", page_size=2, diversity=0.0)
    assert ids(response) == ["lamp-1", "boot-0"]
    assert response.basis == pb.TRENDING
    assert [part.modality for part in response.products[0].contributions] == ["trending"]
    assert list(response.products[0].sources) == [pb.TRENDING_NOW]


# --- whom something is known of


async def test_a_click_brings_products_like_it_and_says_why(shop: Any) -> None:
    await shop.did("ann", ("boot-0", Kind.CLICK))
    response = await recommend(shop, page_size=2)
    assert set(ids(response)) == {"boot-1", "boot-2"}
    assert response.basis == pb.PROFILE
    best = response.products[0]
    assert best.because_product_id == "boot-0"
    assert "“Boot-0”, which you looked at." in best.reason
    assert best.title == best.product_id.title()
    assert best.price == pytest.approx(20.0 + int(best.product_id[-1]))
    assert response.freshness.profile_event_time.seconds > 0


async def test_the_score_is_exactly_the_sum_of_its_contributions(shop: Any) -> None:
    await shop.did("bob", ("boot-0", Kind.CLICK), ("boot-1", Kind.PURCHASE))
    await shop.did("ann", ("boot-0", Kind.CLICK), ("lamp-0", Kind.PURCHASE), ("shirt-1", Kind.DISLIKE))
    response = await recommend(shop, page_size=12)
    assert len(response.products) > 5
    for product in response.products:
        total = 0.0
        for part in product.contributions:
            total += part.value
        assert product.score == total
        values = [part.value for part in product.contributions]
        assert values == sorted(values, reverse=True)
        assert 0.0 not in values


async def test_where_recency_counts_the_last_click_leads_and_scores_stay_sums(open_shop: Any) -> None:
    first = {}
    for recency in (1.0, 0.3):
        shop = await open_shop(weights=RankingWeights(trending=0.0, recency=recency))
        for kind, name in enumerate(("boot", "lamp")):
            for i in range(4):
                shop.product(f"{name}-{i}", kind)
        await shop.did("ann", ("boot-0", Kind.PURCHASE), ("boot-1", Kind.CLICK), ("lamp-0", Kind.CLICK))
        response = await recommend(shop, page_size=4, diversity=0.0)
        first[recency] = response.products[0].product_id
        for product in response.products:
            assert product.score == pytest.approx(sum(part.value for part in product.contributions))
    assert first[1.0].startswith("boot"), "two boots say more than one lamp"
    assert first[0.3].startswith("lamp"), "the lamp was the last"


async def test_products_that_nobody_has_chosen_count_by_weights_of_their_own(open_shop: Any) -> None:
    answers = {}
    for untried in (1.0, 3.0):
        weights = RankingWeights(trending=0.0, untried=untried, untried_affinity=untried + 1.0)
        shop = await open_shop(weights=weights)
        for name in ("red-boot", "old-boot", "new-boot", "lamp"):
            shop.product(name, 1 if "boot" in name else 3)
        await shop.did("bob", ("red-boot", Kind.CLICK), ("old-boot", Kind.CLICK))
        await shop.did("ann", ("red-boot", Kind.CLICK))
        response = await recommend(shop, page_size=4, diversity=0.0)
        similar = await shop.ask.ListSimilarProducts(pb.ListSimilarProductsRequest(product_id="red-boot"), timeout=30.0)
        answers[untried] = {product.product_id: product for product in response.products}, ids(similar)
        for product in response.products:
            assert product.score == pytest.approx(sum(part.value for part in product.contributions))
    (before, similar_before), (after, similar_after) = answers[1.0], answers[3.0]

    def parts(product: Any) -> dict[str, float]:
        return {part.modality: part.value for part in product.contributions}

    assert parts(after["old-boot"]) == pytest.approx(parts(before["old-boot"])), "what has shoppers stays as it was"
    assert "behaviour" in parts(after["old-boot"])
    assert after["old-boot"].reason.startswith(("Chosen by others", "Described like", "Much like", "Looks like"))
    assert "behaviour" not in parts(after["new-boot"])
    assert not after["new-boot"].reason.startswith("Chosen by others")
    assert after["new-boot"].because_product_id == "red-boot"
    # Its words speak twice: as a part of the vector, threefold, and as an affinity, four times instead of twice.
    assert parts(after["new-boot"])["joint"] == pytest.approx(3.0 * parts(before["new-boot"])["joint"])
    assert after["new-boot"].score > before["new-boot"].score
    assert similar_after == similar_before, "likeness does not depend on who chose"


@pytest.mark.parametrize("name", ["text", "image", "joint", "behaviour", "trending"])
async def test_a_weight_of_zero_switches_a_modality_off(shop: Any, name: str) -> None:
    await shop.did("bob", ("boot-0", Kind.CLICK), ("boot-1", Kind.CLICK))
    await shop.did("ann", ("boot-0", Kind.CLICK))
    with_it = await recommend(shop, page_size=12)
    assert any(part.modality == name for product in with_it.products for part in product.contributions)
    without = await recommend(shop, page_size=12, weights=pb.ModalityWeights(**{name: 0.0}))
    assert not any(part.modality == name for product in without.products for part in product.contributions)


async def test_weights_steer_towards_the_look(shop: Any) -> None:
    await shop.did("ann", ("boot-1", Kind.CLICK))
    text_off = pb.ModalityWeights(text=0.0, joint=0.0, image=10.0, trending=0.0)
    response = await recommend(shop, page_size=3, weights=text_off, diversity=0.0)
    assert set(ids(response)) == {"shirt-1", "lamp-1", "book-1"}


async def test_a_dislike_pushes_products_like_it_away(shop: Any) -> None:
    await shop.did("ann", ("boot-0", Kind.CLICK), ("lamp-0", Kind.CLICK))
    before = (await recommend(shop, page_size=12, diversity=0.0)).products
    await shop.did("ann", ("lamp-1", Kind.DISLIKE))
    after = (await recommend(shop, page_size=12, diversity=0.0)).products
    score_before = {product.product_id: product.score for product in before}
    score_after = {product.product_id: product.score for product in after}
    assert score_after["lamp-2"] < score_before["lamp-2"] - 0.3
    # boot-2 has neither the disliked lamp's kind nor its look.
    assert score_after["boot-2"] == pytest.approx(score_before["boot-2"], abs=0.01)


async def test_a_hidden_product_never_comes_back_even_when_seen_ones_may(shop: Any) -> None:
    await shop.did("ann", ("boot-0", Kind.CLICK), ("boot-1", Kind.HIDE))
    response = await recommend(shop, page_size=12, filter=pb.Filter(include_seen=True))
    assert "boot-1" not in ids(response)
    assert "boot-0" in ids(response)


async def test_seen_products_are_left_out_unless_asked_for(shop: Any) -> None:
    await shop.did("ann", ("boot-0", Kind.VIEW), ("lamp-0", Kind.PURCHASE))
    assert not {"boot-0", "lamp-0"} & set(ids(await recommend(shop, page_size=12)))
    seen_too = await recommend(shop, page_size=12, filter=pb.Filter(include_seen=True))
    assert {"boot-0", "lamp-0"} <= set(ids(seen_too))


async def test_others_choices_count_as_behaviour(shop: Any) -> None:
    for user in ("u1", "u2", "u3", "u4"):
        await shop.did(user, ("boot-0", Kind.CLICK), ("book-2", Kind.CLICK))
    await shop.did("ann", ("boot-0", Kind.CLICK))
    response = await recommend(shop, page_size=12)
    book = next(product for product in response.products if product.product_id == "book-2")
    assert "behaviour" in {part.modality for part in book.contributions}
    assert pb.CO_VISIT in book.sources


# --- filters


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (pb.Filter(categories=["lamp"]), {"lamp-0", "lamp-1", "lamp-2"}),
        (pb.Filter(categories=["lamp", "unheard-of"]), {"lamp-0", "lamp-1", "lamp-2"}),
        (pb.Filter(categories=["unheard-of"]), set()),
        (pb.Filter(brands=["brand-2"]), {"shirt-2", "boot-2", "lamp-2", "book-2"}),
        (pb.Filter(min_price=40.0, max_price=41.0), {"book-0", "book-1"}),
        (pb.Filter(categories=["lamp"], excluded_product_ids=["lamp-1", "nobody"]), {"lamp-0", "lamp-2"}),
    ],
)
@pytest.mark.parametrize("user", ["ann", "new"])
async def test_a_filter_lets_only_these_pass(shop: Any, wanted: pb.Filter, expected: set[str], user: str) -> None:
    await shop.did("ann", ("shirt-0", Kind.CLICK))
    response = await recommend(shop, user, page_size=50, filter=wanted)
    assert set(ids(response)) == expected


async def test_a_product_without_a_price_passes_no_bound(shop: Any) -> None:
    shop.product("gift", 0)
    assert "gift" in ids(await recommend(shop, page_size=50))
    assert "gift" not in ids(await recommend(shop, page_size=50, filter=pb.Filter(min_price=0.0)))


async def test_unavailable_and_removed_products_are_never_recommended(shop: Any) -> None:
    await shop.did("ann", ("boot-0", Kind.CLICK))
    shop.product("boot-1", 1, available=False)
    shop.add(
        stream_pb2.Representation(
            product_id="boot-2", product_number=shop.number("boot-2"), model_version="m1", removed=True
        )
    )
    answer = ids(await recommend(shop, page_size=50))
    assert not {"boot-1", "boot-2"} & set(answer)
    shop.product("boot-2", 1)
    assert "boot-2" in ids(await recommend(shop, page_size=50))


# --- pages and variety


async def test_pages_hold_the_whole_ranking_once(shop: Any) -> None:
    await shop.did("ann", ("boot-0", Kind.CLICK))
    whole = ids(await recommend(shop, page_size=50, diversity=0.0))
    assert len(whole) == 11
    pages: list[str] = []
    token = ""
    while True:
        page = await recommend(shop, page_size=4, page_token=token, diversity=0.0)
        pages += ids(page)
        if not (token := page.next_page_token):
            break
        await shop.did("ann", ("lamp-0", Kind.CLICK))
    assert pages == whole


async def test_a_page_asked_for_twice_is_the_same(shop: Any) -> None:
    await shop.did("ann", ("boot-0", Kind.CLICK))
    first = await recommend(shop, page_size=3)
    second = ids(await recommend(shop, page_size=3, page_token=first.next_page_token))
    await recommend(shop, page_size=5, page_token=first.next_page_token)
    assert ids(await recommend(shop, page_size=3, page_token=first.next_page_token)) == second
    assert not set(second) & set(ids(first))


@pytest.mark.parametrize("other", [{"user": "bob"}, {"diversity": 0.9}, {"filter": pb.Filter(brands=["brand-1"])}])
async def test_a_page_token_with_other_arguments_is_refused(shop: Any, other: dict[str, Any]) -> None:
    first = await recommend(shop, page_size=3)
    code, field, _ = await refused(recommend(shop, page_token=first.next_page_token, **other))
    assert (code, field) == (grpc.StatusCode.INVALID_ARGUMENT, "page_token")


async def test_diversity_mixes_kinds_and_keeps_the_best_first(shop: Any) -> None:
    await shop.did("ann", ("boot-0", Kind.PURCHASE))
    plain = ids(await recommend(shop, page_size=3, diversity=0.0))
    varied = ids(await recommend(shop, page_size=3, diversity=0.8))
    assert plain[0] == varied[0]
    assert {name.split("-")[0] for name in plain[:2]} == {"boot"}
    assert len({name.split("-")[0] for name in varied}) == 3


# --- exposures


async def test_what_was_shown_is_recorded(shop: Any) -> None:
    await shop.did("ann", ("boot-0", Kind.CLICK))
    response = await recommend(shop, page_size=2, session_id="s1")
    exposure = shop.written.exposures()[0]
    assert exposure.attribution_token == response.attribution_token != ""
    assert (exposure.user_id, exposure.session_id, exposure.model_version) == ("ann", "s1", "m1")
    assert [(item.product_id, item.rank, item.score, item.propensity) for item in exposure.items] == [
        (product.product_id, rank, product.score, 1.0) for rank, product in enumerate(response.products)
    ]
    await recommend(shop, page_size=2, page_token=response.next_page_token)
    assert [item.rank for item in shop.written.exposures()[1].items] == [2, 3]


async def test_a_dry_run_records_nothing(shop: Any) -> None:
    await recommend(shop, dry_run=True)
    assert not shop.written.records


async def test_exposures_beyond_the_limit_are_dropped_and_counted(shop: Any) -> None:
    shop.written.confirm = False
    for _ in range(5):
        await recommend(shop)
    assert len(shop.written.records) == 3
    assert shop.exposures.dropped == 2


# --- similar products, health


async def test_products_like_one_product(shop: Any) -> None:
    response = await shop.ask.ListSimilarProducts(pb.ListSimilarProductsRequest(product_id="lamp-1", page_size=2))
    assert set(ids(response)) == {"lamp-0", "lamp-2"}
    assert "“Lamp-1”." in response.products[0].reason


async def test_products_like_an_unknown_one_are_not_found(shop: Any) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await shop.ask.ListSimilarProducts(pb.ListSimilarProductsRequest(product_id="nothing"))
    assert raised.value.code() == grpc.StatusCode.NOT_FOUND
    assert "'nothing'" in (raised.value.details() or "")


async def test_health_says_not_serving_until_told(shop: Any) -> None:
    stub = health_pb2_grpc.HealthStub(shop.channel)
    name = "freshet.v1.RecommendationService"
    asked = health_pb2.HealthCheckRequest(service=name)
    assert (await stub.Check(asked)).status == health_pb2.HealthCheckResponse.NOT_SERVING
    await shop.server.ready(True)
    assert (await stub.Check(asked)).status == health_pb2.HealthCheckResponse.SERVING
