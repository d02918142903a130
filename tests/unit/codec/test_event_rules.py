"""The contract's rules, field by field."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from freshet.codec import events
from freshet.domain.products import Image, Patch, Product, Removal, Upsert
from freshet.errors import InvalidInput
from freshet.v1 import interaction_pb2, product_pb2

NOW_US = 1_764_244_800_000_000


def interaction(**more: Any) -> interaction_pb2.Interaction:
    return interaction_pb2.Interaction(**{"user_id": "u", "product_id": "p", "kind": "CLICK", **more})


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"user_id": ""}, "user_id"),
        ({"user_id": "a\nb"}, "user_id"),
        ({"product_id": "p" * 257}, "product_id"),
        ({"kind": 0}, "kind"),
        ({"kind": 77}, "kind"),
        ({"kind": "RATING"}, "value"),
        ({"kind": "RATING", "value": 5.5}, "value"),
        ({"kind": "PURCHASE", "value": float("nan")}, "value"),
        ({"kind": "PURCHASE", "value": -1.0}, "value"),
        ({"event_time": events.timestamp(NOW_US + 301_000_000)}, "event_time"),
        ({"event_time": Timestamp(seconds=-1)}, "event_time"),
        ({"event_time": Timestamp(seconds=2**60)}, "event_time"),
        ({"event_time": Timestamp(nanos=-5)}, "event_time"),
    ],
)
def test_an_interaction_that_breaks_a_rule_names_the_field(more: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        events.read_interaction(interaction(**more), NOW_US, NOW_US)
    assert caught.value.field == field


def test_an_interaction_without_time_happened_when_it_was_received() -> None:
    assert events.read_interaction(interaction(), 5, NOW_US).event_time_us == 5
    slightly_ahead = interaction(event_time=events.timestamp(NOW_US + 299_000_000))
    assert events.read_interaction(slightly_ahead, 5, NOW_US).event_time_us == NOW_US + 299_000_000


@pytest.mark.parametrize(
    ("product", "field"),
    [
        ({"product_id": ""}, "upsert.product_id"),
        ({"product_id": "a\x00"}, "upsert.product_id"),
        ({"product_id": "p", "price": float("inf")}, "upsert.price"),
        ({"product_id": "p", "price": float("nan")}, "upsert.price"),
        ({"product_id": "p", "price": -0.01}, "upsert.price"),
        ({"product_id": "p", "title": "x" * 1_000_001}, "upsert.title"),
    ],
)
def test_a_product_that_breaks_a_rule_names_the_field(product: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        events.read_product_event(product_pb2.ProductEvent(upsert=product_pb2.Product(**product)))
    assert caught.value.field == field


def test_a_product_comes_back_from_its_message_as_it_was() -> None:
    product = Product(
        "p1", "Title", "Words", "Brand", ("a", "b"), 0.0, "EUR", False, Image(content=b"x"), {"colour": "red"}
    )
    event = product_pb2.ProductEvent(upsert=events.write_product(product))
    assert events.read_product_event(event) == Upsert(product)


def test_an_absent_price_is_unknown_and_not_zero() -> None:
    change = events.read_product_event(product_pb2.ProductEvent(upsert=product_pb2.Product(product_id="p")))
    assert isinstance(change, Upsert)
    assert change.product.price is None
    assert change.product.available


def test_a_patch_needs_a_mask_of_known_fields() -> None:
    event = product_pb2.ProductEvent(patch=product_pb2.ProductPatch(product=product_pb2.Product(product_id="p")))
    with pytest.raises(InvalidInput, match=r"patch\.update_mask: is required"):
        events.read_product_event(event)
    event.patch.update_mask.paths.append("colour")
    with pytest.raises(InvalidInput, match="'colour'"):
        events.read_product_event(event)
    event.patch.update_mask.paths[:] = ["price", "price"]
    assert events.read_product_event(event) == Patch(Product("p"), ("price",))


def test_a_removal_and_an_event_that_changes_nothing() -> None:
    removal = product_pb2.ProductEvent(removal=product_pb2.ProductRemoval(product_id="p"))
    assert events.read_product_event(removal) == Removal("p")
    with pytest.raises(InvalidInput, match="change"):
        events.read_product_event(product_pb2.ProductEvent())


def test_a_review_needs_stars_or_words() -> None:
    review = product_pb2.Review(review_id="r", product_id="p", text="  ")
    with pytest.raises(InvalidInput, match="text"):
        events.read_review(review, NOW_US, 1)
    review.rating = 0.5
    with pytest.raises(InvalidInput, match="rating"):
        events.read_review(review, NOW_US, 1)
    review.rating = 5
    assert events.read_review(review, NOW_US, 1).rating == 5.0
