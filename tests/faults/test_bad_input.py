"""Everything a publisher can get wrong, on the running line: a dead letter with its reason, and the stream goes on.

Invariants 4 and 9, and 3 for what comes early, late or twice.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass

import pytest
from bad_records import BAD_PICTURES, BAD_RECORDS, Bad
from line import Line, source_of
from replay import wait_applied

from freshet.adapters.kafka import Producer
from freshet.domain import products
from freshet.domain.progress import Position
from freshet.domain.representations import Modality
from freshet.local.stack import LocalStack
from freshet.stream.dead_letters import Letter
from freshet.v1.interaction_pb2 import Interaction
from freshet.v1.product_pb2 import Review

pytestmark = pytest.mark.stack


@dataclass
class Outcome:
    """One bad record, what became of it, and whose record came next on the same partition."""

    line: Line
    value: bytes
    letters: list[Letter]


def publish_with_a_good_record_after_it(line: Line, bad: Bad, value: bytes | None) -> Position:
    """Where the bad record is. The good one has the same key, so it is the next on the same partition."""
    topic = getattr(line.settings.topics, bad.topic)
    timestamp_ms = (time.time_ns() // 1_000 + bad.ahead_us) // 1_000 if bad.ahead_us else None
    (place,) = line.publish(topic, value, content=bad.content, timestamp_ms=timestamp_ms)
    match bad.topic:
        case "products":
            line.products(line.good(product_id=f"{line.name}-next"))
        case "reviews":
            line.products(line.good())
            line.reviews(Review(review_id=line.name, product_id=line.name, rating=4.0))
        case "interactions":
            line.interactions(Interaction(user_id=line.name, product_id=line.name, kind=Interaction.LIKE))
    return place


def good_record_took_effect(line: Line, bad: Bad) -> bool:
    match bad.topic:
        case "products":
            return line.product(f"{line.name}-next") is not None
        case "reviews":
            row = line.row()
            return row is not None and row.reviews.stars == (0, 0, 0, 1, 0)
        case "interactions":
            profile = line.profile()
            return profile is not None and [touch.weight for touch in profile.touches.values()] == [3.0]


@pytest.fixture(scope="module")
def outcomes(stack: LocalStack, producer: Producer) -> dict[str, Outcome]:
    """All of BAD_RECORDS, published one after the other."""
    lines = {name: Line(stack.settings, producer) for name in BAD_RECORDS}
    values = {name: bad.write(lines[name]) for name, bad in BAD_RECORDS.items()}
    places = {
        name: publish_with_a_good_record_after_it(lines[name], bad, values[name]) for name, bad in BAD_RECORDS.items()
    }
    found = Line(stack.settings, producer).letters(places.values())
    return {
        name: Outcome(lines[name], values[name] or b"", [letter for letter in found if source_of(letter) == place])
        for name, place in places.items()
    }


@pytest.mark.parametrize("name", BAD_RECORDS)
def test_a_bad_record_becomes_a_dead_letter_and_the_next_record_counts(name: str, outcomes: dict[str, Outcome]) -> None:
    bad, outcome = BAD_RECORDS[name], outcomes[name]
    (letter,) = outcome.letters
    assert letter.reason == bad.reason
    assert re.search(bad.detail, letter.message.detail), letter.message.detail
    assert len(letter.message.detail) < 500
    assert letter.message.value == outcome.value
    assert letter.message.key.decode() == outcome.line.name
    assert letter.message.headers["content-type"].decode() == bad.content
    assert letter.message.worker == ("profiles" if bad.topic == "interactions" else "catalog")
    assert good_record_took_effect(outcome.line, bad)


@pytest.mark.parametrize("name", BAD_PICTURES)
def test_a_product_whose_picture_is_refused_is_there_without_it(name: str, outcomes: dict[str, Outcome]) -> None:
    row = outcomes[name].line.row()
    assert row is not None
    assert row.encoding is not None
    assert Modality.TEXT in row.encoding.parts
    assert Modality.IMAGE not in row.encoding.parts


def test_nothing_else_that_was_refused_left_a_trace(outcomes: dict[str, Outcome]) -> None:
    for name, bad in BAD_RECORDS.items():
        if bad.topic == "products" and name not in BAD_PICTURES:
            assert outcomes[name].line.row() is None, name


def test_a_patch_that_comes_before_its_product_waits_for_it(line: Line) -> None:
    patch = line.good()
    patch.patch.product.product_id, patch.patch.product.price = line.name, 77.0
    patch.patch.update_mask.paths.append("price")
    patch.event_time.GetCurrentTime()
    upsert = line.good()
    upsert.event_time.FromMicroseconds(patch.event_time.ToMicroseconds() - 60_000_000)

    assert line.letters(line.products(patch)) == []
    assert line.product() is None

    assert line.letters(line.products(upsert)) == []
    whole = line.product()
    assert whole is not None
    assert (whole.title, whole.price) == ("red dress", 77.0)


def test_records_out_of_order_and_twice_change_nothing(line: Line) -> None:
    newer, older = line.good(title="new title"), line.good(title="old title")
    newer.event_time.GetCurrentTime()
    older.event_time.FromMicroseconds(newer.event_time.ToMicroseconds() - 1_000_000)
    assert line.letters(line.products(newer, older, newer, older)) == []
    whole = line.product()
    assert whole is not None
    assert whole.title == "new title"


def test_a_review_that_comes_twice_counts_once(line: Line) -> None:
    good = Review(review_id=line.name, product_id=line.name, rating=5.0, text="warm and red")
    line.products(line.good())
    assert line.letters(line.reviews(good, good, good)) == []
    row = line.row()
    assert row is not None
    assert (row.reviews.stars, row.reviews.text_count) == ((0, 0, 0, 0, 1), 1)


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
    assert products.live(row.state)
    assert list(profile.touches) == [row.number], "the click was of this product all the time"
