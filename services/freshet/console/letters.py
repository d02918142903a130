"""Dead letters for the page: listed, shown, replayed. Blocks: callers use a thread. May import the Kafka adapters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import Message

from freshet import bootstrap
from freshet.adapters.dead_letters import REPLAY_OF, Letter, read_letter, read_letters, replay
from freshet.codec import wire
from freshet.errors import InvalidInput, UnreadableRecord
from freshet.settings import Settings, Topics
from freshet.v1 import interaction_pb2, product_pb2

NEWEST = 500
"""So many of each partition are read for the list."""
LISTED = 200
SHOWN_BYTES = 4_096
REPLAYED_AT_ONCE = 100


def listed(settings: Settings) -> dict[str, Any]:
    """The newest letters, newest first, and how many there are of each reason among those read."""
    found = list(read_letters(settings.kafka_url, settings.topics.dead_letters, newest=NEWEST))
    found.sort(key=lambda letter: letter.message.failed_at.ToNanoseconds(), reverse=True)
    return {
        "reasons": dict(Counter(letter.reason for letter in found).most_common()),
        "letters": [_row(letter) for letter in found[:LISTED]],
    }


def shown(settings: Settings, name: str) -> dict[str, Any]:
    """Everything about one letter. Raises NotFound."""
    letter = read_letter(settings.kafka_url, settings.topics.dead_letters, name)
    message = letter.message
    text, is_text = _readable(message.value[:SHOWN_BYTES])
    return _row(letter) | {
        "key": message.key.decode("utf-8", "backslashreplace"),
        "headers": {name: value.decode("utf-8", "backslashreplace") for name, value in sorted(message.headers.items())},
        "bytes": len(message.value),
        "shown_bytes": min(len(message.value), SHOWN_BYTES),
        "value": text,
        "is_text": is_text,
        "message": _as_message(letter, settings.topics),
    }


def replayed(settings: Settings, names: Sequence[str]) -> list[str]:
    """Publish the original records again; returns where they are now. Raises NotFound, InvalidInput."""
    if not 0 < len(names) <= REPLAYED_AT_ONCE:
        raise InvalidInput("letters", f"has {len(names)} names; 1 to {REPLAYED_AT_ONCE} are needed")
    chosen = [read_letter(settings.kafka_url, settings.topics.dead_letters, name) for name in names]
    producer = bootstrap.producer(settings)
    try:
        return [f"{place.topic}/{place.partition}/{place.offset}" for place in replay(producer, chosen)]
    finally:
        producer.close()


def _row(letter: Letter) -> dict[str, Any]:
    message = letter.message
    return {
        "name": letter.name,
        "reason": letter.reason,
        "detail": message.detail,
        "source": f"{message.source.topic}/{message.source.partition}/{message.source.offset}",
        "worker": message.worker,
        "failed_at": message.failed_at.ToMilliseconds(),
        "replay_of": message.headers[REPLAY_OF].decode("utf-8", "replace") if REPLAY_OF in message.headers else "",
    }


def _readable(value: bytes) -> tuple[str, bool]:
    """As text where it is text (a character cut in two at the end is left out), else as hexadecimal lines."""
    for cut in range(4):
        try:
            text = value[: len(value) - cut].decode()
        except UnicodeDecodeError:
            continue
        if all(character.isprintable() or character in "\r\n\t" for character in text):
            return text, True
        break
    lines = []
    for start in range(0, len(value), 16):
        part = value[start : start + 16]
        plain = "".join(chr(byte) if 32 <= byte < 127 else "·" for byte in part)
        lines.append(f"{start:06x}  {part[:8].hex(' '):<23}  {part[8:].hex(' '):<23}  {plain}")
    return "\n".join(lines), False


def _as_message(letter: Letter, topics: Topics) -> str:
    """What the record says, where it can be read as its topic's message; else empty."""
    kinds: dict[str, type[Message]] = {
        topics.products: product_pb2.ProductEvent,
        topics.reviews: product_pb2.Review,
        topics.interactions: interaction_pb2.Interaction,
    }
    kind = kinds.get(letter.message.source.topic)
    if kind is None or letter.reason == "UNREADABLE" or len(letter.message.value) > 256 * 1_024:
        return ""
    try:
        message = wire.decode(letter.message.value, list(letter.message.headers.items()), kind)
        return json_format.MessageToJson(message, preserving_proto_field_name=True)[:SHOWN_BYTES]
    except (UnreadableRecord, ValueError):
        return ""
