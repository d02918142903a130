"""Kafka values to messages and back: protobuf or JSON, told apart by `content-type`; CloudEvents in binary mode.

Source: CloudEvents Kafka Protocol Binding 1.0.2 (binary content mode: attributes are headers named `ce_…`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TypeAlias, TypeVar

from google.protobuf import json_format
from google.protobuf.message import DecodeError, Message
from google.protobuf.timestamp_pb2 import Timestamp

from freshet.errors import UnreadableRecord
from freshet.v1 import interaction_pb2, product_pb2

PROTOBUF = "application/protobuf"
JSON = "application/json"
_JSON_TYPES = (JSON, "text/json")
_PROTOBUF_TYPES = (PROTOBUF, "application/x-protobuf", "application/vnd.google.protobuf")

CAUSE = "freshet-cause"
"""Header of a representation: the event that made it, and when that came to Kafka, as `NAME MILLISECONDS`."""
CAUSES = frozenset({"product", "hidden", "removal", "review"})

_PLAIN_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?Z", re.ASCII)
"""RFC 3339 as nearly everybody writes it."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

M = TypeVar("M", bound=Message)
Headers: TypeAlias = Sequence[tuple[str, bytes | None]]


def header(headers: Headers | None, name: str) -> str:
    """The first header of that name as text, or empty. Names are compared without regard to case."""
    for key, value in headers or ():
        if key.lower() == name and value is not None:
            return value.decode("utf-8", "replace")
    return ""


def content_type(value: bytes, headers: Headers | None) -> str:
    """`PROTOBUF` or `JSON`. Raises UnreadableRecord for any other declared type."""
    declared = header(headers, "content-type").partition(";")[0].strip().lower()
    if declared in _PROTOBUF_TYPES:
        return PROTOBUF
    if declared in _JSON_TYPES or declared.endswith("+json"):
        return JSON
    if declared:
        raise UnreadableRecord("content-type", f"is {declared!r}; send {PROTOBUF} or {JSON}")
    return JSON if value[:1] == b"{" else PROTOBUF


def decode(value: bytes | None, headers: Headers | None, message: type[M]) -> M:
    """Read one record's value as `message`.

    Unknown protobuf fields are kept (a newer publisher is not an error); unknown JSON fields are refused, since
    they are most often a misspelt name. What an event leaves out is taken from its CloudEvent headers, see
    `complete`. Raises UnreadableRecord.
    """
    if value is None:
        raise UnreadableRecord("", f"the record has no value; {message.DESCRIPTOR.name} expected")
    if content_type(value, headers) == JSON:
        try:
            read = json_format.Parse(value, message())
        except (json_format.ParseError, UnicodeDecodeError, RecursionError) as error:
            raise UnreadableRecord("", f"not JSON of {message.DESCRIPTOR.full_name}: {error}") from error
    else:
        try:
            read = message.FromString(value)
        except DecodeError as error:
            raise UnreadableRecord("", f"not protobuf of {message.DESCRIPTOR.full_name}: {error}") from error
    if headers and isinstance(read, product_pb2.ProductEvent | product_pb2.Review | interaction_pb2.Interaction):
        complete(read, headers)
    return read


def complete(
    event: product_pb2.ProductEvent | product_pb2.Review | interaction_pb2.Interaction, headers: Headers
) -> None:
    """Set an event_id and an event_time that the event leaves out to its CloudEvent's `ce_id` and `ce_time`.

    A review has no event_id: its review_id names what is reviewed again, not the event. Raises UnreadableRecord.
    """
    if not isinstance(event, product_pb2.Review) and not event.event_id:
        event.event_id = header(headers, "ce_id")
    if not event.HasField("event_time") and (time := header(headers, "ce_time")):
        try:
            _read_time(time, event.event_time)
        except ValueError as error:
            raise UnreadableRecord("ce_time", f"is {time!r}, which is no RFC 3339 time: {error}") from error


def _read_time(text: str, time: Timestamp) -> None:
    """Raises ValueError. protobuf's own reading goes through `strptime`, which costs more than the rest of a record."""
    if _PLAIN_TIME.fullmatch(text):
        time_us = (datetime.fromisoformat(text) - _EPOCH) // _MICROSECOND
        time.seconds, time.nanos = time_us // 1_000_000, time_us % 1_000_000 * 1_000
    else:
        time.FromJsonString(text)


def encode(message: Message, content: str = PROTOBUF) -> bytes:
    """The value to publish."""
    if content == JSON:
        return json_format.MessageToJson(message, indent=None, preserving_proto_field_name=False).encode()
    return message.SerializeToString(deterministic=True)


def cloud_event_headers(
    *, event_id: str, event_type: str, source: str, subject: str, time_us: int, content: str = PROTOBUF
) -> list[tuple[str, bytes]]:
    """Headers that make a record a CloudEvent in binary mode."""
    time = datetime.fromtimestamp(time_us / 1e6, UTC).isoformat().replace("+00:00", "Z")
    attributes: Iterable[tuple[str, str]] = (
        ("content-type", content),
        ("ce_specversion", "1.0"),
        ("ce_id", event_id),
        ("ce_type", event_type),
        ("ce_source", source),
        ("ce_subject", subject),
        ("ce_time", time),
    )
    return [(name, value.encode()) for name, value in attributes if value]


def cause_header(event: str, time_ms: int) -> tuple[str, bytes]:
    return CAUSE, f"{event} {time_ms}".encode()


def read_cause(headers: Headers) -> tuple[str, int] | None:
    """What `cause_header` wrote, or None."""
    for name, value in headers:
        if name == CAUSE and value is not None:
            event, _, time_ms = value.decode("ascii", "replace").partition(" ")
            return (event, int(time_ms)) if event in CAUSES and time_ms.isdecimal() else None
    return None
