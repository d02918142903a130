"""Bytes to messages and back, and the tokens that name places in Kafka."""

from __future__ import annotations

import contextlib
from datetime import datetime
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from freshet.codec import wire
from freshet.codec.tokens import read_token, write_token
from freshet.domain.progress import Position
from freshet.errors import InvalidInput, UnreadableRecord
from freshet.v1 import interaction_pb2, product_pb2

CLICK = interaction_pb2.Interaction(event_id="e", user_id="u", product_id="p", kind="CLICK")


@pytest.mark.parametrize("content", [wire.PROTOBUF, wire.JSON])
def test_a_message_comes_back_as_it_went_with_and_without_its_declared_type(content: str) -> None:
    value = wire.encode(CLICK, content)
    assert wire.decode(value, [("Content-Type", content.encode())], interaction_pb2.Interaction) == CLICK
    assert wire.decode(value, None, interaction_pb2.Interaction) == CLICK


def test_unknown_protobuf_fields_are_kept_and_unknown_json_fields_are_refused() -> None:
    newer = wire.encode(CLICK) + b"\x98\x06\x01"  # field 99, varint 1
    assert wire.decode(newer, None, interaction_pb2.Interaction).SerializeToString() == newer
    with pytest.raises(UnreadableRecord, match="userID"):
        wire.decode(b'{"userID": "u"}', None, interaction_pb2.Interaction)


@pytest.mark.parametrize(
    "value", [None, b"\xff\xff\xff", b'{"user_id": ', b'{"user_id": "\xff"}', b'{"kind": "BOUGHT"}']
)
def test_what_is_no_message_is_unreadable(value: bytes | None) -> None:
    with pytest.raises(UnreadableRecord):
        wire.decode(value, None, interaction_pb2.Interaction)


def test_json_nested_without_end_is_unreadable_and_no_crash() -> None:
    with pytest.raises(UnreadableRecord):
        wire.decode(b'{"upsert":' * 5_000, None, product_pb2.ProductEvent)


def test_another_declared_type_is_refused() -> None:
    with pytest.raises(UnreadableRecord, match="avro"):
        wire.decode(b"x", [("content-type", b"application/avro")], interaction_pb2.Interaction)


@given(st.binary(max_size=200))
def test_any_bytes_are_either_read_or_unreadable(value: bytes) -> None:
    with contextlib.suppress(UnreadableRecord):
        wire.decode(value, None, product_pb2.ProductEvent)


def test_cloud_event_headers_say_what_the_binding_asks() -> None:
    headers = wire.cloud_event_headers(
        event_id="e1", event_type="t", source="s", subject="u1", time_us=1_764_244_800_000_000
    )
    assert wire.header(headers, "ce_time") == "2025-11-27T12:00:00Z"
    assert wire.header(headers, "ce_specversion") == "1.0"
    assert wire.content_type(b"", headers) == wire.PROTOBUF


CLOUD = [("ce_id", b"c1"), ("ce_time", b"2025-11-27T13:00:00+01:00")]
BARE = {
    interaction_pb2.Interaction: interaction_pb2.Interaction(user_id="u", product_id="p", kind="CLICK"),
    product_pb2.ProductEvent: product_pb2.ProductEvent(removal=product_pb2.ProductRemoval(product_id="p")),
    product_pb2.Review: product_pb2.Review(review_id="r", product_id="p"),
}


@pytest.mark.parametrize("kind", BARE)
@pytest.mark.parametrize("content", [wire.PROTOBUF, wire.JSON])
def test_a_cloud_events_id_and_time_are_those_of_an_event_without(kind: Any, content: str) -> None:
    read = wire.decode(wire.encode(BARE[kind], content), CLOUD, kind)
    assert read.event_time.seconds == 1_764_244_800
    assert getattr(read, "event_id", "c1") == "c1"


def test_an_events_own_id_and_time_win_over_its_cloud_events() -> None:
    own = interaction_pb2.Interaction(
        event_id="mine", user_id="u", product_id="p", kind="CLICK", event_time={"nanos": 1}
    )
    assert wire.decode(wire.encode(own), CLOUD, interaction_pb2.Interaction) == own
    assert wire.decode(wire.encode(own), [("ce_time", b"now")], interaction_pb2.Interaction) == own


@pytest.mark.parametrize("time", [b"yesterday", b"\xff", b"2025-13-01T00:00:00Z"])
def test_a_cloud_event_without_a_readable_time_is_unreadable(time: bytes) -> None:
    with pytest.raises(UnreadableRecord, match="ce_time"):
        wire.decode(wire.encode(CLICK), [("ce_time", time)], interaction_pb2.Interaction)


@given(
    st.datetimes(min_value=datetime(1, 1, 1), max_value=datetime(9999, 12, 31)),
    st.integers(0, 9),
    st.sampled_from(["Z", "+01:00", "z", ""]),
)
def test_a_cloud_events_time_is_read_as_protobuf_reads_it(moment: datetime, digits: int, zone: str) -> None:
    fraction = f".{moment.microsecond:06}000"[: digits + 1] if digits else ""
    text = f"{moment:%Y-%m-%dT%H:%M:%S}".zfill(19) + fraction + zone
    expected, headers = Timestamp(), [("ce_time", text.encode())]
    try:
        expected.FromJsonString(text)
    except ValueError:
        with pytest.raises(UnreadableRecord, match="ce_time"):
            wire.decode(wire.encode(CLICK), headers, interaction_pb2.Interaction)
    else:
        assert wire.decode(wire.encode(CLICK), headers, interaction_pb2.Interaction).event_time == expected


POSITIONS = st.builds(Position, st.sampled_from(["a", "b"]), st.integers(0, 9), st.integers(0, 2**40))


@given(st.lists(POSITIONS, min_size=1))
def test_a_token_keeps_the_last_place_of_every_partition(positions: list[Position]) -> None:
    last: dict[tuple[str, int], Position] = {}
    for position in sorted(positions):
        last[position.topic, position.partition] = position
    assert read_token(write_token(positions)) == tuple(sorted(last.values()))


@pytest.mark.parametrize("token", ["", "?", "AAAA", "a b", "é", "CgA"])
def test_what_is_no_token_is_refused_by_the_fields_name(token: str) -> None:
    with pytest.raises(InvalidInput, match=r"at_least\[2\]"):
        read_token(token, "at_least[2]")
