"""Rows of files become events of the contract."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from freshet.errors import ConfigurationError, InvalidInput
from freshet.ingest.mapping import Columns, What, read_columns, read_event, time_us
from freshet.v1 import interaction_pb2

NOON_US = 1_764_244_800_000_000


def test_a_flat_row_whose_columns_are_the_contracts_fields_becomes_an_upsert() -> None:
    row = {"product_id": "p1", "title": "Red dress", "price": "49.90", "categories": "women > dresses",
           "available": "no", "attributes.colour": "red"}  # fmt: skip
    event = read_event(row, Columns(What.PRODUCTS))
    assert event.WhichOneof("change") == "upsert"
    assert event.upsert.price == 49.90
    assert list(event.upsert.categories) == ["women", "dresses"]
    assert not event.upsert.available
    assert dict(event.upsert.attributes) == {"colour": "red"}


def test_an_event_in_protobufs_json_mapping_is_taken_as_it_is() -> None:
    event = read_event({"eventId": "e1", "removal": {"productId": "p1"}}, Columns(What.PRODUCTS))
    assert event.removal.product_id == "p1"


def test_a_misspelt_field_of_the_json_mapping_is_refused_by_name() -> None:
    with pytest.raises(InvalidInput, match="prise"):
        read_event({"upsert": {"productId": "p1", "prise": 3}}, Columns(What.PRODUCTS))


def test_a_patch_names_the_given_columns_and_clears_those_left_empty() -> None:
    event = read_event({"product_id": "p1", "price": "5", "title": ""}, Columns(What.PRODUCTS), patch=True)
    assert list(event.patch.update_mask.paths) == ["title", "price"]
    assert event.patch.product.price == 5.0
    assert event.patch.product.title == ""


def test_flags_win_over_the_mapping_file(tmp_path: Path) -> None:
    file = tmp_path / "map.toml"
    file.write_text('[columns]\nuser_id = "customer"\nproduct_id = "sku"\n[constants]\nkind = "VIEW"\n')
    columns = read_columns(What.INTERACTIONS, file, ["product_id=article"], ["kind=purchase"])
    event = read_event({"customer": "u1", "article": 42.0, "when": 1}, columns)
    assert (event.user_id, event.product_id) == ("u1", "42")
    assert event.kind == interaction_pb2.Interaction.Kind.PURCHASE
    assert columns.unused({"customer": 1, "article": 2, "when": 3}) == ["when"]
    # A name as JSON writes it is read, unless the other is there or the column is said.
    assert Columns(What.PRODUCTS).unused({"productId": "p", "title": "t"}) == []
    assert Columns(What.PRODUCTS).unused({"productId": "p", "product_id": "q"}) == ["productId"]
    assert columns.unused({"userId": "u"}) == ["userId"]


def test_a_mapping_to_a_field_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="no field 'colour'"):
        read_columns(What.REVIEWS, None, ["colour=c"], [])


@pytest.mark.parametrize(
    "written",
    [
        "2025-11-27T12:00:00Z",
        "2025-11-27 12:00:00",
        "2025-11-27T13:00:00+01:00",
        NOON_US // 1_000_000,
        str(NOON_US // 1_000),
        NOON_US,
        datetime(2025, 11, 27, 12, tzinfo=UTC),
        datetime(2025, 11, 27, 12),
    ],
)
def test_times_are_read_in_every_usual_form(written: object) -> None:
    assert time_us(written, "event_time") == NOON_US


@pytest.mark.parametrize("written", ["yesterday", "nan", "-5", "inf", "1e30", "2025-13-01"])
def test_what_is_no_time_is_refused(written: str) -> None:
    with pytest.raises(InvalidInput, match="event_time"):
        time_us(written, "event_time")


def test_eight_digits_are_a_day() -> None:
    assert time_us("20251127", "event_time") == time_us(20251127, "event_time") == NOON_US - 12 * 3_600_000_000


@pytest.mark.parametrize(
    "row",
    [
        {"title": "half a pair \ud83d"},
        {"attributes": "[1,2]"},
        {"attributes": [1, 2]},
        {"attributes": '{"a":' * 100_000},
        {"price": 10**400},
        {"image": "p\x00.png"},
        {"image": {"uri": 3}},
        {"categories": {"a": 1}},
        {"upsert": {"productId": "\ud83d"}},
        {"upsert": [1]},
        {"removal": {"productId": {"a": {}}}},
    ],
    ids=lambda row: ascii(row)[:40],
)
def test_whatever_a_row_holds_it_is_an_event_or_refused(row: dict[str, object], tmp_path: Path) -> None:
    """One bad row must not end a publish of a million."""
    with pytest.raises(InvalidInput):
        read_event({"product_id": "p1"} | row, Columns(What.PRODUCTS), folder=tmp_path)


def test_one_attribute_cannot_be_patched_for_it_would_remove_the_others() -> None:
    with pytest.raises(InvalidInput, match=r"attributes\.colour: cannot be patched alone"):
        read_event({"product_id": "p1", "attributes.colour": "red"}, Columns(What.PRODUCTS), patch=True)
    event = read_event({"product_id": "p1", "attributes": '{"colour": "red"}'}, Columns(What.PRODUCTS), patch=True)
    assert list(event.patch.update_mask.paths) == ["attributes"]


def test_a_picture_given_as_a_path_is_sent_inside_the_event(tmp_path: Path) -> None:
    (tmp_path / "p1.png").write_bytes(b"picture")
    event = read_event({"product_id": "p1", "image": "p1.png"}, Columns(What.PRODUCTS), folder=tmp_path)
    assert event.upsert.image.content == b"picture"
    with pytest.raises(InvalidInput, match="cannot be read"):
        read_event({"product_id": "p1", "image": "p2.png"}, Columns(What.PRODUCTS), folder=tmp_path)
    address = read_event({"product_id": "p1", "image": "https://shop.example/p1.png"}, Columns(What.PRODUCTS))
    assert address.upsert.image.uri == "https://shop.example/p1.png"


def test_an_unknown_kind_is_refused_with_the_kinds_there_are() -> None:
    with pytest.raises(InvalidInput, match="ADD_TO_CART"):
        read_event({"user_id": "u", "product_id": "p", "kind": "bought"}, Columns(What.INTERACTIONS))
    event = read_event({"userId": "u", "productId": "p", "kind": "add-to-cart"}, Columns(What.INTERACTIONS))
    assert event.kind == interaction_pb2.Interaction.Kind.ADD_TO_CART
