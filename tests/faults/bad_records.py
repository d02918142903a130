"""Everything a publisher can get wrong in a record, and what its dead letter must say. (Imported by test_bad_input.)"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Literal, NamedTuple

from google.protobuf.timestamp_pb2 import Timestamp
from line import IN_AN_HOUR_US, Line
from PIL import Image as Pictures

from freshet.codec.wire import JSON, PROTOBUF
from freshet.v1.interaction_pb2 import Interaction
from freshet.v1.product_pb2 import ProductEvent, Review

Topic = Literal["products", "reviews", "interactions"]
NAN = float("nan")
TEN_MEGABYTES = 10_000_000
NEARLY_THE_LIMIT = 8_000_000
HALF_A_CHARACTER = "\ud800"
"""The first of a surrogate pair, without the second: JSON can write it, UTF-8 cannot."""


class Bad(NamedTuple):
    """A record that nobody should publish, and its letter's reason and (a pattern of) its detail."""

    topic: Topic
    write: Callable[[Line], bytes | None]
    reason: str
    detail: str
    content: str = PROTOBUF
    ahead_us: int = 0
    """How far in the future the record's own time in Kafka is."""


def in_an_hour() -> Timestamp:
    time = Timestamp()
    time.GetCurrentTime()
    time.FromMicroseconds(time.ToMicroseconds() + IN_AN_HOUR_US)
    return time


def vast_picture() -> bytes:
    """A hundred megapixels in a few kilobytes."""
    written = io.BytesIO()
    Pictures.new("1", (10_000, 10_000)).save(written, "PNG")
    return written.getvalue()


def product(**facts: object) -> Callable[[Line], bytes]:
    return lambda line: line.good(**facts).SerializeToString()


def pictured(uri: str) -> Callable[[Line], bytes]:
    return product(image={"uri": uri})


def product_json(**facts: object) -> Callable[[Line], bytes]:
    return lambda line: json.dumps({"upsert": {"productId": line.name} | facts}).encode()


def from_the_future(line: Line) -> bytes:
    event = line.good()
    event.event_time.CopyFrom(in_an_hour())
    return event.SerializeToString()


def patch_of(path: str) -> Callable[[Line], bytes]:
    def write(line: Line) -> bytes:
        event = ProductEvent()
        event.patch.product.product_id = line.name
        event.patch.update_mask.paths.append(path)
        return event.SerializeToString()

    return write


def review(**facts: object) -> Callable[[Line], bytes]:
    return lambda line: Review(
        **{"review_id": f"{line.name}-bad", "product_id": line.name, "rating": 1.0} | facts
    ).SerializeToString()


def interaction(**facts: object) -> Callable[[Line], bytes]:
    return lambda line: Interaction(
        **{"user_id": line.name, "product_id": line.name, "kind": Interaction.HIDE} | facts
    ).SerializeToString()


def value(written: bytes | None) -> Callable[[Line], bytes | None]:
    return lambda _: written


BAD_PRODUCTS = {
    "bytes that are nothing": Bad("products", value(b"\xff\xfe\x00"), "UNREADABLE", "not protobuf"),
    "no value": Bad("products", value(None), "UNREADABLE", "has no value"),
    "another format": Bad("products", value(b"Obj\x01"), "UNREADABLE", "is 'application/avro'", "application/avro"),
    "JSON cut off": Bad("products", value(b'{"upsert": {"productId"'), "UNREADABLE", "not JSON", JSON),
    "a wrong type": Bad("products", product_json(price="cheap"), "UNREADABLE", "price", JSON),
    "an unknown field": Bad("products", product_json(prize=5), "UNREADABLE", '"prize"', JSON),
    "half a character as a price": Bad(
        "products", product_json(price=HALF_A_CHARACTER), "UNREADABLE", r"\\ud800 at .*price", JSON
    ),
    "no number in JSON": Bad("products", product_json(price="NaN"), "INVALID", "upsert.price: is nan", JSON),
    "no change at all": Bad("products", value(ProductEvent(event_id="x").SerializeToString()), "INVALID", "change: is"),
    "no product_id": Bad("products", product(product_id=""), "INVALID", "upsert.product_id: is required"),
    "an endless product_id": Bad("products", product(product_id="x" * 300), "INVALID", "has 300 characters"),
    "an id with a line feed": Bad("products", product(product_id="a\nb"), "INVALID", "control characters"),
    "a price that is no number": Bad("products", product(price=NAN), "INVALID", "upsert.price: is nan"),
    "a price below nothing": Bad("products", product(price=-1.0), "INVALID", "upsert.price: is -1"),
    "a patch of nothing known": Bad("products", patch_of("prize"), "INVALID", "patch.update_mask: names 'prize'"),
    "a mask that cannot be quoted": Bad("products", patch_of("\x01" * NEARLY_THE_LIMIT), "INVALID", "characters\\)$"),
    "a time in the future": Bad("products", from_the_future, "INVALID", "event_time: is 3[56]\\d\\d s in the future"),
    "a record's own time in the future": Bad(
        "products", product(), "INVALID", "event_time: is absent, .* in the future", ahead_us=3_000_000_000
    ),
    "ten megabytes of text": Bad("products", product(description="x" * TEN_MEGABYTES), "TOO_LARGE", "are allowed"),
    "two million characters": Bad("products", product(title="x" * 2_000_000), "INVALID", "title: has 2,000,000"),
}
BAD_PICTURES = {
    "a picture of 100 megapixels": Bad("products", product(image={"content": vast_picture()}), "IMAGE", "pixels"),
    "a picture that is none": Bad("products", product(image={"content": b"GIF89a no"}), "IMAGE", "cannot be read"),
    "a picture on this machine": Bad("products", pictured("http://localhost:1/x"), "IMAGE", "not on the public"),
    "a picture in a private network": Bad("products", pictured("http://10.0.0.1/x"), "IMAGE", "not on the public"),
    "a picture of the cloud's secrets": Bad(
        "products", pictured("http://169.254.169.254/latest"), "IMAGE", "169.254.169.254, which is not on the public"
    ),
    "a picture in any file": Bad("products", pictured("file:///etc/passwd"), "IMAGE", "outside the allowed folders"),
    "a picture in a file named so": Bad("products", pictured("file:///tmp/a%00b"), "IMAGE", "is no address"),
    "a picture at half an address": Bad("products", pictured("http://[::1"), "IMAGE", "is no address"),
    "a picture on a host without a name": Bad("products", pictured("http://a..b/x"), "IMAGE", "is no address"),
}
BAD_REVIEWS = {
    "a review that is nothing": Bad(
        "reviews", value(b"\xff\xfe\x00"), "UNREADABLE", "not protobuf of freshet.v1.Review"
    ),
    "a review of an unknown field": Bad("reviews", value(b'{"stars": 5}'), "UNREADABLE", '"stars"', JSON),
    "a review without stars and words": Bad(
        "reviews", lambda line: Review(review_id="r", product_id=line.name).SerializeToString(), "INVALID", "text: is"
    ),
    "seven stars": Bad("reviews", review(rating=7.0), "INVALID", "rating: is 7"),
    "stars that are no number": Bad("reviews", review(rating=NAN), "INVALID", "rating: is nan"),
    "a review without an id": Bad("reviews", review(review_id=""), "INVALID", "review_id: is required"),
    "a review of no product": Bad("reviews", review(product_id=""), "INVALID", "product_id: is required"),
    "a review from the future": Bad("reviews", review(event_time=in_an_hour()), "INVALID", "event_time: is .* future"),
    "a review of ten megabytes": Bad("reviews", review(text="x" * TEN_MEGABYTES), "TOO_LARGE", "are allowed"),
}
BAD_INTERACTIONS = {
    "an interaction that is nothing": Bad("interactions", value(b"\xff\xfe"), "UNREADABLE", "not protobuf"),
    "an interaction of a wrong type": Bad("interactions", value(b'{"kind": "BOUGHT"}'), "UNREADABLE", "BOUGHT", JSON),
    "an interaction of an unknown field": Bad("interactions", value(b'{"userID": "u"}'), "UNREADABLE", "userID", JSON),
    "nobody's interaction": Bad("interactions", interaction(user_id=""), "INVALID", "user_id: is required"),
    "an interaction with nothing": Bad(
        "interactions", interaction(product_id=""), "INVALID", "product_id: is required"
    ),
    "an interaction without a kind": Bad("interactions", interaction(kind=0), "INVALID", "kind: is 0"),
    "an unknown kind of interaction": Bad("interactions", interaction(kind=99), "INVALID", "kind: is 99"),
    "a rating without stars": Bad(
        "interactions", interaction(kind=Interaction.RATING), "INVALID", "value: is required"
    ),
    "a value that is no number": Bad("interactions", interaction(value=NAN), "INVALID", "value: is nan"),
    "an interaction from the future": Bad(
        "interactions", interaction(event_time=in_an_hour()), "INVALID", "event_time: is .* future"
    ),
    "an interaction from a clock that is ahead": Bad(
        "interactions", interaction(), "INVALID", "event_time: is absent", ahead_us=3_000_000_000
    ),
    "an interaction of ten megabytes": Bad(
        "interactions", interaction(session_id="x" * TEN_MEGABYTES), "TOO_LARGE", "are allowed"
    ),
}
BAD_RECORDS = BAD_PRODUCTS | BAD_PICTURES | BAD_REVIEWS | BAD_INTERACTIONS
