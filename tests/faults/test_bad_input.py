"""Everything a publisher can get wrong, on the running line: a dead letter with its reason, and the stream goes on."""

from __future__ import annotations

import io
import json
import re
import uuid
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field

import pytest
from PIL import Image as Pictures
from replay import wait_applied
from typer.testing import CliRunner

from freshet import bootstrap
from freshet.adapters.kafka import Producer
from freshet.codec.wire import JSON, PROTOBUF
from freshet.domain import products, profiles
from freshet.domain.progress import Position
from freshet.domain.representations import Modality
from freshet.local.stack import LocalStack
from freshet.ports import CatalogRow
from freshet.settings import Settings
from freshet.stream.commands import dead_letters_app
from freshet.stream.dead_letters import Letter, read_letters
from freshet.v1.interaction_pb2 import Interaction
from freshet.v1.product_pb2 import Product, ProductEvent, Review

pytestmark = pytest.mark.stack

IN_AN_HOUR = 3_600_000_000


@dataclass
class Line:
    """Publishes with identifiers of its own, and looks at what became of it."""

    settings: Settings
    name: str = field(default_factory=lambda: f"bad-{uuid.uuid4().hex[:8]}")

    def publish(self, topic: str, *values: bytes | None, content: str = PROTOBUF) -> list[Position]:
        with closing(Producer(self.settings.kafka_url)) as producer:
            futures = [
                producer.publish(topic, self.name, value, {"content-type": content.encode()}) for value in values
            ]
            return [future.result(timeout=30.0) for future in futures]

    def products(self, *events: ProductEvent) -> list[Position]:
        return self.publish(self.settings.topics.products, *(event.SerializeToString() for event in events))

    def interactions(self, *events: Interaction) -> list[Position]:
        return self.publish(self.settings.topics.interactions, *(event.SerializeToString() for event in events))

    def good(self) -> ProductEvent:
        return ProductEvent(upsert=Product(product_id=self.name, title="red dress", price=10.0, currency="EUR"))

    def letters(self, places: list[Position]) -> list[Letter]:
        """Dead letters of these records, once everything is applied."""
        wait_applied(self.settings)
        found = read_letters(self.settings.kafka_url, self.settings.topics.dead_letters)
        wanted = set(map(_place, places))
        return [letter for letter in found if _source(letter) in wanted]

    def row(self, product_id: str = "") -> CatalogRow | None:
        manifest = bootstrap.model_manifest(self.settings)
        with closing(bootstrap.catalog_store(self.settings, manifest.model_version)) as store:
            return store.load([product_id or self.name]).get(product_id or self.name)

    def profile(self) -> profiles.Profile | None:
        with closing(bootstrap.profile_store(self.settings)) as store:
            data = store.load_profiles([self.name]).get(self.name)
        return None if data is None else profiles.decode(data)


def _source(letter: Letter) -> tuple[str, int, int]:
    source = letter.message.source
    return source.topic, source.partition, source.offset


def _place(position: Position) -> tuple[str, int, int]:
    return position.topic, position.partition, position.offset


@pytest.fixture
def line(stack: LocalStack) -> Line:
    return Line(stack.settings)


def vast_picture() -> bytes:
    """A hundred megapixels in a few kilobytes."""
    written = io.BytesIO()
    Pictures.new("1", (10_000, 10_000)).save(written, "PNG")
    return written.getvalue()


def with_picture(line: Line, *, content: bytes = b"", uri: str = "") -> bytes:
    event = line.good()
    if content:
        event.upsert.image.content = content
    else:
        event.upsert.image.uri = uri
    return event.SerializeToString()


def priced(line: Line, price: float) -> bytes:
    event = line.good()
    event.upsert.price = price
    return event.SerializeToString()


def dated(line: Line, shift_us: int) -> bytes:
    event = line.good()
    event.event_time.GetCurrentTime()
    event.event_time.FromMicroseconds(event.event_time.ToMicroseconds() + shift_us)
    return event.SerializeToString()


def described(line: Line, characters: int) -> bytes:
    event = line.good()
    event.upsert.description = "x" * characters
    return event.SerializeToString()


BAD_PRODUCTS: dict[str, tuple[Callable[[Line], bytes], str, str]] = {
    "bytes that are nothing": (lambda _: b"\xff\xfe\x00", "UNREADABLE", "not protobuf"),
    "no change at all": (lambda _: ProductEvent(event_id="x").SerializeToString(), "INVALID", "change: is required"),
    "no product_id": (
        lambda _: ProductEvent(upsert=Product(title="x")).SerializeToString(),
        "INVALID",
        "upsert.product_id: is required",
    ),
    "a price that is no number": (lambda line: priced(line, float("nan")), "INVALID", "upsert.price: is nan"),
    "a price below nothing": (lambda line: priced(line, -1.0), "INVALID", "upsert.price: is -1"),
    "a time in the future": (lambda line: dated(line, IN_AN_HOUR), "INVALID", "in the future"),
    "ten megabytes of text": (lambda line: described(line, 10_000_000), "TOO_LARGE", "bytes; .* are allowed"),
    "two million characters": (lambda line: described(line, 2_000_000), "INVALID", "upsert.description: has 2,000,000"),
    "a picture of 100 megapixels": (lambda line: with_picture(line, content=vast_picture()), "IMAGE", "pixels"),
    "a picture that is none": (lambda line: with_picture(line, content=b"GIF89a no"), "IMAGE", "cannot be read"),
    "a picture on this machine": (
        lambda line: with_picture(line, uri="http://127.0.0.1:1/x.png"),
        "IMAGE",
        "not on the public internet",
    ),
    "a picture in a file": (lambda line: with_picture(line, uri="file:///etc/passwd"), "IMAGE", "file: addresses"),
}


@dataclass
class Outcome:
    """One bad record, what became of it, and the product whose record came next on the same partition."""

    value: bytes
    letters: list[Letter]
    next_row: CatalogRow | None


@pytest.fixture(scope="module")
def outcomes(stack: LocalStack) -> dict[str, Outcome]:
    """All of BAD_PRODUCTS, published one after the other, each followed by a good product."""
    lines = {name: Line(stack.settings) for name in BAD_PRODUCTS}
    values = {name: write(lines[name]) for name, (write, _, _) in BAD_PRODUCTS.items()}
    places = {}
    for name, line in lines.items():
        after = line.good()
        after.upsert.product_id += "-next"
        places[name] = line.publish(stack.settings.topics.products, values[name], after.SerializeToString())
    found = Line(stack.settings).letters([place for listed in places.values() for place in listed])
    return {
        name: Outcome(
            values[name],
            [letter for letter in found if _source(letter) == _place(places[name][0])],
            line.row(f"{line.name}-next"),
        )
        for name, line in lines.items()
    }


@pytest.mark.parametrize("name", BAD_PRODUCTS)
def test_a_bad_product_becomes_a_dead_letter_and_the_next_record_counts(
    name: str, outcomes: dict[str, Outcome]
) -> None:
    _, reason, detail = BAD_PRODUCTS[name]
    (letter,) = outcomes[name].letters
    assert letter.reason == reason
    assert re.search(detail, letter.message.detail), letter.message.detail
    assert letter.message.value == outcomes[name].value
    assert letter.message.worker == "catalog"
    row = outcomes[name].next_row
    assert row is not None
    assert products.live(row.state)


def test_a_product_whose_picture_is_refused_is_there_without_it(line: Line) -> None:
    (letter,) = line.letters(line.publish(line.settings.topics.products, with_picture(line, content=b"GIF89a no")))
    assert letter.reason == "IMAGE"
    row = line.row()
    assert row is not None
    assert row.encoding is not None
    assert Modality.TEXT in row.encoding.parts
    assert Modality.IMAGE not in row.encoding.parts


def test_wrong_types_and_unknown_fields_in_json_are_named(line: Line) -> None:
    wrong = json.dumps({"upsert": {"productId": line.name, "price": "cheap"}}).encode()
    unknown = json.dumps({"upsert": {"productId": line.name, "prize": 5}}).encode()
    good = json.dumps({"upsert": {"productId": line.name, "title": "mug"}}).encode()
    places = line.publish(line.settings.topics.products, wrong, unknown, good, content=JSON)
    first, second = line.letters(places)
    assert (first.reason, second.reason) == ("UNREADABLE", "UNREADABLE")
    assert "price" in first.message.detail
    assert "prize" in second.message.detail
    assert line.row() is not None


def test_a_bad_review_is_refused_and_a_good_one_counts(line: Line) -> None:
    line.products(line.good())
    topic = line.settings.topics.reviews
    empty = Review(review_id=f"{line.name}-1", product_id=line.name)
    seven = Review(review_id=f"{line.name}-2", product_id=line.name, rating=7)
    good = Review(review_id=f"{line.name}-3", product_id=line.name, rating=4)
    places = line.publish(topic, *(review.SerializeToString() for review in (empty, seven, good)))
    assert [letter.message.detail.split(":")[0] for letter in line.letters(places)] == ["text", "rating"]
    row = line.row()
    assert row is not None
    assert row.reviews.stars == (0, 0, 0, 1, 0)


def test_a_patch_that_comes_before_its_product_waits_for_it(line: Line) -> None:
    patch = ProductEvent()
    patch.patch.product.product_id, patch.patch.product.price = line.name, 77.0
    patch.patch.update_mask.paths.append("price")
    patch.event_time.GetCurrentTime()
    upsert = line.good()
    upsert.event_time.FromMicroseconds(patch.event_time.ToMicroseconds() - 60_000_000)

    assert line.letters(line.products(patch)) == []
    before = line.row()
    assert before is not None
    assert not products.live(before.state)

    assert line.letters(line.products(upsert)) == []
    row = line.row()
    assert row is not None
    assert (products.product(row.state).title, products.product(row.state).price) == ("red dress", 77.0)


def test_records_out_of_order_and_twice_change_nothing(line: Line) -> None:
    newer, older = line.good(), line.good()
    newer.upsert.title, older.upsert.title = "new title", "old title"
    newer.event_time.GetCurrentTime()
    older.event_time.FromMicroseconds(newer.event_time.ToMicroseconds() - 1_000_000)
    assert line.letters(line.products(newer, older, newer, older)) == []
    row = line.row()
    assert row is not None
    assert products.product(row.state).title == "new title"


def test_a_click_that_comes_twice_counts_once_and_one_on_an_unknown_product_waits_for_it(line: Line) -> None:
    click = Interaction(event_id=line.name, user_id=line.name, product_id=line.name, kind=Interaction.CLICK)
    assert line.letters(line.interactions(click, click)) == []
    profile = line.profile()
    assert profile is not None
    assert [touch.weight for touch in profile.touches.values()] == [1.0]
    assert line.row() is None, "nobody has published the product yet"

    line.products(line.good())
    wait_applied(line.settings)
    row = line.row()
    assert row is not None
    assert list(profile.touches) == [row.number], "the click was of this product all the time"


def test_bad_interactions_are_refused_and_name_their_field(line: Line) -> None:
    late = Interaction(user_id=line.name, product_id="p", kind=Interaction.CLICK)
    late.event_time.GetCurrentTime()
    late.event_time.FromMicroseconds(late.event_time.ToMicroseconds() + IN_AN_HOUR)
    bad = [
        Interaction(product_id="p", kind=Interaction.CLICK),
        Interaction(user_id=line.name, kind=Interaction.CLICK),
        Interaction(user_id=line.name, product_id="p"),
        Interaction(user_id=line.name, product_id="p", kind=Interaction.RATING),
        Interaction(user_id=line.name, product_id="p", kind=Interaction.RATING, value=float("nan")),
        late,
    ]
    good = Interaction(user_id=line.name, product_id="p", kind=Interaction.LIKE)
    letters = line.letters(line.interactions(*bad, good))
    named = [letter.message.detail.split(":")[0] for letter in letters]
    assert named == ["user_id", "product_id", "kind", "value", "value", "event_time"]
    profile = line.profile()
    assert profile is not None
    assert [touch.weight for touch in profile.touches.values()] == [3.0]


def test_a_letter_can_be_looked_at_and_replayed_and_is_not_lost_again(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    (letter,) = line.letters(line.publish(line.settings.topics.products, priced(line, -5.0)))
    monkeypatch.setenv("FRESHET_KAFKA_URL", line.settings.kafka_url)
    run = CliRunner()
    listed = json.loads(run.invoke(dead_letters_app, ["list", "--reason", "INVALID", "--json"]).stdout)
    assert letter.name in {row["letter"] for row in listed}
    shown = json.loads(run.invoke(dead_letters_app, ["show", letter.name, "--json"]).stdout)
    assert "upsert.price: is -5" in shown["detail"]
    replayed = json.loads(run.invoke(dead_letters_app, ["replay", letter.name, "--json"]).stdout)
    topic, partition, offset = replayed["places"][0].rsplit("/", 2)
    (again,) = line.letters([Position(topic, int(partition), int(offset))])
    assert again.message.value == letter.message.value
    assert again.reason == "INVALID", "it is as bad as it was, and is kept again"
