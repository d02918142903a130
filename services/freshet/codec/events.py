"""The contract's event messages, checked by its rules and turned into domain values, and back.

Every `read_…` raises InvalidInput that names the field. Times are microseconds since the epoch (UTC).
"""

from __future__ import annotations

import math
import unicodedata

from google.protobuf.timestamp_pb2 import Timestamp

from freshet.domain.interactions import Interaction, Kind
from freshet.domain.products import FIELDS, Change, Image, Patch, Product, Removal, Upsert, Version
from freshet.domain.reviews import Review
from freshet.errors import InvalidInput
from freshet.v1 import interaction_pb2, product_pb2

ID_CHARACTERS = 256
TEXT_CHARACTERS = 1_000_000
PRICE_LIMIT = 1e12
FUTURE_TOLERANCE_US = 300_000_000


def check_id(value: str, field: str) -> str:
    """The identifier itself. Raises InvalidInput: empty, over ID_CHARACTERS long, or with control characters."""
    if not value:
        raise InvalidInput(field, "is required")
    if len(value) > ID_CHARACTERS:
        raise InvalidInput(field, f"has {len(value)} characters; at most {ID_CHARACTERS} are allowed")
    if not value.isprintable() and any(unicodedata.category(c) == "Cc" for c in value):
        raise InvalidInput(field, "has control characters")
    return value


def _number(value: float, field: str, low: float, high: float) -> float:
    if not math.isfinite(value):
        raise InvalidInput(field, f"is {value}; a finite number is needed")
    if not low <= value <= high:
        raise InvalidInput(field, f"is {value:g}; it must be between {low:g} and {high:g}")
    return value


def _text(value: str, field: str) -> str:
    if len(value) > TEXT_CHARACTERS:
        raise InvalidInput(field, f"has {len(value):,} characters; at most {TEXT_CHARACTERS:,} are allowed")
    return value


def event_time_us(message: product_pb2.ProductEvent | product_pb2.Review, received_us: int, now_us: int) -> int:
    """The event's own time, else its record's in Kafka. Raises InvalidInput when it is too far in the future."""
    return _event_time_us(message.event_time, message.HasField("event_time"), received_us, now_us)


def _event_time_us(time: Timestamp, given: bool, received_us: int, now_us: int) -> int:
    if not given:
        # A record's time is its publisher's clock: one that is ahead would keep its event the newest for as long.
        return _not_ahead(received_us, now_us, "is absent, and the record's own time in Kafka is")
    if not -62_135_596_800 <= time.seconds <= 253_402_300_799 or not 0 <= time.nanos < 1_000_000_000:
        raise InvalidInput("event_time", "is no valid timestamp")
    time_us = time.seconds * 1_000_000 + time.nanos // 1_000
    if time_us < 0:
        raise InvalidInput("event_time", "is before 1970")
    return _not_ahead(time_us, now_us, "is")


def _not_ahead(time_us: int, now_us: int, what: str) -> int:
    if time_us > now_us + FUTURE_TOLERANCE_US:
        ahead_seconds = (time_us - now_us) / 1e6
        raise InvalidInput("event_time", f"{what} {ahead_seconds:.0f} s in the future; at most 300 s are allowed")
    return time_us


def read_product_event(message: product_pb2.ProductEvent) -> Change:
    """The change that an event describes."""
    match message.WhichOneof("change"):
        case "upsert":
            return Upsert(_read_product(message.upsert, "upsert"))
        case "patch":
            paths = tuple(dict.fromkeys(message.patch.update_mask.paths))
            if not paths:
                raise InvalidInput("patch.update_mask", "is required and must name at least one field")
            unknown = [path for path in paths if path not in FIELDS]
            if unknown:
                raise InvalidInput(
                    "patch.update_mask", f"names {unknown[0]!r}, which is not one of {', '.join(FIELDS)}"
                )
            return Patch(_read_product(message.patch.product, "patch.product"), paths)
        case "removal":
            return Removal(check_id(message.removal.product_id, "removal.product_id"))
        case _:
            raise InvalidInput("change", "is required: one of upsert, patch, removal")


def product_id_of(change: Change) -> str:
    return change.product_id if isinstance(change, Removal) else change.product.product_id


def _read_product(message: product_pb2.Product, at: str) -> Product:
    image = None
    if message.HasField("image"):
        match message.image.WhichOneof("source"):
            case "content":
                image = Image(content=message.image.content)
            case "uri" if message.image.uri:
                image = Image(uri=_text(message.image.uri, f"{at}.image.uri"))
    return Product(
        product_id=check_id(message.product_id, f"{at}.product_id"),
        title=_text(message.title, f"{at}.title"),
        description=_text(message.description, f"{at}.description"),
        brand=_text(message.brand, f"{at}.brand"),
        categories=tuple(_text(category, f"{at}.categories") for category in message.categories),
        price=_number(message.price, f"{at}.price", 0.0, PRICE_LIMIT) if message.HasField("price") else None,
        currency=_text(message.currency, f"{at}.currency"),
        available=message.available if message.HasField("available") else True,
        image=image,
        attributes={key: _text(message.attributes[key], f"{at}.attributes") for key in message.attributes},
    )


def write_product(product: Product) -> product_pb2.Product:
    """The inverse of reading: a message that reads back as an equal product."""
    message = product_pb2.Product(
        product_id=product.product_id,
        title=product.title,
        description=product.description,
        brand=product.brand,
        categories=product.categories,
        price=product.price,
        currency=product.currency,
        available=product.available,
        attributes=product.attributes,
    )
    if product.image is not None:
        if product.image.content:
            message.image.content = product.image.content
        else:
            message.image.uri = product.image.uri
    return message


def read_review(message: product_pb2.Review, time_us: int, offset: int) -> Review:
    """A review. Raises InvalidInput when it has neither stars nor words."""
    rating = _number(message.rating, "rating", 1.0, 5.0) if message.HasField("rating") else None
    if rating is None and not message.text.strip():
        raise InvalidInput("text", "is empty and there is no rating; a review needs one of them")
    return Review(
        review_id=check_id(message.review_id, "review_id"),
        product_id=check_id(message.product_id, "product_id"),
        rating=rating,
        text=_text(message.text, "text"),
        version=Version(time_us, offset),
    )


_KINDS = frozenset(int(kind) for kind in Kind)


def read_interaction(message: interaction_pb2.Interaction, received_us: int, now_us: int) -> Interaction:
    """An interaction. The profile worker's hot path: one pass, no allocation beyond the result."""
    kind = int(message.kind)
    if kind not in _KINDS:
        raise InvalidInput("kind", f"is {kind}; one of {', '.join(k.name for k in Kind)} is needed")
    value: float | None = None
    if message.HasField("value"):
        value = message.value
        if kind == Kind.RATING:
            _number(value, "value", 1.0, 5.0)
        else:
            _number(value, "value", 0.0, 1e9)
    elif kind == Kind.RATING:
        raise InvalidInput("value", "is required for RATING: 1 to 5 stars")
    return Interaction(
        message.event_id,
        check_id(message.user_id, "user_id"),
        check_id(message.product_id, "product_id"),
        kind,
        value,
        _event_time_us(message.event_time, message.HasField("event_time"), received_us, now_us),
        message.session_id,
        message.attribution_token,
    )


def timestamp(time_us: int) -> Timestamp:
    return Timestamp(seconds=time_us // 1_000_000, nanos=time_us % 1_000_000 * 1_000)
