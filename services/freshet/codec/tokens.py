"""Consistency tokens: opaque strings that hold places in Kafka."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable

from google.protobuf.message import DecodeError

from freshet.domain.progress import Position
from freshet.errors import InvalidInput
from freshet.v1 import stream_pb2


def write_token(positions: Iterable[Position]) -> str:
    """A token that covers these records; only the last of each partition is kept."""
    last: dict[tuple[str, int], int] = {}
    for position in positions:
        key = (position.topic, position.partition)
        last[key] = max(position.offset, last.get(key, -1))
    message = stream_pb2.ConsistencyToken(
        positions=[
            stream_pb2.Position(topic=topic, partition=partition, offset=offset)
            for (topic, partition), offset in sorted(last.items())
        ]
    )
    return base64.urlsafe_b64encode(message.SerializeToString()).rstrip(b"=").decode()


def read_token(token: str, field: str = "at_least") -> tuple[Position, ...]:
    """The records that a token covers. Raises InvalidInput when it is not one of ours."""
    try:
        padded = token + "=" * (-len(token) % 4)
        message = stream_pb2.ConsistencyToken.FromString(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (binascii.Error, DecodeError, ValueError) as error:
        raise InvalidInput(field, "is no consistency token; pass what a publish call returned") from error
    if not message.positions or any(not p.topic or p.offset < 0 or p.partition < 0 for p in message.positions):
        raise InvalidInput(field, "is no consistency token; pass what a publish call returned")
    return tuple(Position(p.topic, p.partition, p.offset) for p in message.positions)
