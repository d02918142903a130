"""The catalogue worker over real stores in memory: what is merged, what is encoded again, and what is published."""

from __future__ import annotations

from pathlib import Path

import pytest
from catalog_line import Line, Pictures404, boot, event, png, price

from freshet import bootstrap
from freshet.representation.preprocessing import word_hashes
from freshet.settings import Settings
from freshet.v1 import product_pb2 as pb


async def test_a_price_change_calls_neither_the_text_nor_the_image_encoder() -> None:
    line = Line()
    await line.send(event(upsert=boot(image=pb.Image(content=png()))))
    assert line.encoders.rows == {"text": 1, "image": 1, "price": 1, "fusion": 1}
    (published,) = await line.send(price(60.0))
    assert line.encoders.rows == {"text": 1, "image": 1, "price": 2, "fusion": 2}
    assert published.price == 60.0


async def test_the_words_of_the_whole_text_are_published_the_titles_first() -> None:
    line = Line()
    (published,) = await line.send(event(upsert=boot(title="Red red Boot", description="Made in Zanzibar")))
    assert published.title_words == 2
    assert list(published.words)[:2] == word_hashes("red boot")
    assert set(word_hashes("ZANZIBAR")) <= set(published.words)
    assert len(set(published.words)) == len(published.words)


async def test_availability_changes_no_vector_and_is_published_at_once() -> None:
    line = Line()
    (before,) = await line.send(event(upsert=boot()))
    rows = dict(line.encoders.rows)
    (after,) = await line.send(event(1, upsert=boot(available=False)))
    assert (before.available, after.available) == (True, False)
    assert after.vector == before.vector
    assert line.encoders.rows == rows


async def test_a_patch_that_comes_before_its_product_waits_and_wins() -> None:
    line = Line()
    assert await line.send(price(60.0, time_s=5)) == []
    (published,) = await line.send(event(1, upsert=boot()))
    assert published.price == 60.0
    assert line.letters.sent == []


async def test_an_older_upsert_does_not_undo_a_newer_one() -> None:
    line = Line()
    await line.send(event(9, upsert=boot(title="New")))
    (published,) = await line.send(event(3, upsert=boot(title="Old")))
    assert published.title == "New"


async def test_two_changes_of_one_product_in_a_batch_are_one_row_with_both() -> None:
    line = Line()
    (published,) = await line.send(event(upsert=boot()), price(10.0))
    assert (published.title, published.price) == ("Red boot", 10.0)
    assert line.encoders.rows["price"] == 1


async def test_a_removed_product_is_published_as_removed_and_may_come_back() -> None:
    line = Line()
    (first,) = await line.send(event(upsert=boot()))
    (gone,) = await line.send(event(1, removal=pb.ProductRemoval(product_id="boot")))
    assert gone.removed
    assert not gone.vector
    (back,) = await line.send(event(2, upsert=boot()))
    assert not back.removed
    assert back.vector == first.vector
    assert back.product_number == first.product_number


async def test_the_event_that_a_representation_is_due_to_is_named() -> None:
    """Freshness is told by it: a product that is hidden is another promise than one that is new."""
    line = Line()
    hide, show = (pb.Product(product_id="boot", available=available) for available in (False, True))
    steps = [
        event(upsert=boot()),
        event(1, patch=pb.ProductPatch(product=hide, update_mask={"paths": ["available"]})),
        event(2, patch=pb.ProductPatch(product=hide, update_mask={"paths": ["title"]})),
        event(3, patch=pb.ProductPatch(product=show, update_mask={"paths": ["available"]})),
        event(4, upsert=pb.Product(product_id="boot", title="Boot", available=False)),
        event(5, removal=pb.ProductRemoval(product_id="boot")),
    ]
    for step in steps:
        await line.send(step)
    assert line.kafka.causes == ["product", "hidden", "product", "product", "hidden", "removal"]


@pytest.mark.parametrize(
    ("bad", "reason", "says"),
    [
        (b"\xff\xff\xff", "UNREADABLE", "not protobuf"),
        (b'{"upsert": {"productId": "a", "prize": 3}}', "UNREADABLE", "prize"),
        (event(upsert=boot(price=float("nan"))), "INVALID", "upsert.price"),
        (event(upsert=boot(product_id="")), "INVALID", "upsert.product_id"),
        (event(10_000, upsert=boot()), "INVALID", "future"),
        (pb.ProductEvent(), "INVALID", "change"),
        (event(upsert=boot(description="x" * 10_000_000)), "TOO_LARGE", "bytes"),
    ],
)
async def test_a_bad_record_is_a_dead_letter_and_the_good_one_after_it_is_applied(
    bad: pb.ProductEvent | bytes, reason: str, says: str
) -> None:
    line = Line()
    (published,) = await line.send(bad, event(upsert=boot()))
    assert published.product_id == "boot"
    ((sent_reason, detail, offset),) = line.letters.sent
    assert (sent_reason, offset) == (reason, 0)
    assert says in detail


async def test_a_product_whose_picture_cannot_be_had_is_applied_without_it_and_not_asked_for_at_a_price_change() -> (
    None
):
    missing = Pictures404()
    line = Line(pictures=missing)
    (published,) = await line.send(event(upsert=boot(image=pb.Image(uri="https://shop.example/boot.png"))))
    assert published.vector
    assert [reason for reason, _, _ in line.letters.sent] == ["IMAGE"]
    await line.send(price(60.0))
    assert missing.asked == 1
    missing.content = png()
    (healed,) = await line.send(event(5, upsert=boot(image=pb.Image(uri="https://shop.example/boot.png"))))
    assert missing.asked == 2
    assert healed.present_segments != published.present_segments


async def test_a_picture_that_lies_about_its_format_is_refused_and_the_product_stays() -> None:
    line = Line()
    (published,) = await line.send(event(upsert=boot(image=pb.Image(content=b"\x89PNG\r\n\x1a\nnot a picture"))))
    assert published.title == "Red boot"
    assert [reason for reason, _, _ in line.letters.sent] == ["IMAGE"]


async def test_another_model_version_encodes_everything_anew(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/catalog.db"
    bootstrap.migrate(Settings(database_url=url))
    first = Line(url=url)
    await first.send(event(upsert=boot()))
    second = Line(version="m2", url=url)
    second.records = first.records
    (published,) = await second.send(price(60.0))
    assert published.model_version == "m2"
    assert second.encoders.rows == {"text": 1, "price": 1, "fusion": 1}
    await first.worker.close()
    await second.worker.close()
