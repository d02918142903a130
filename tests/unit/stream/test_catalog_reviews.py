"""The catalogue worker's reviews: encoded once, judged as they come, and counted so that a flood moves little."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from catalog_line import Line, boot, event, review

from freshet import bootstrap
from freshet.settings import Settings


async def test_a_review_is_encoded_once_and_its_replacement_takes_its_place() -> None:
    line = Line()
    await line.send(event(upsert=boot()))
    (published,) = await line.send(review("r1", "boot", 5.0, "lovely"))
    assert published.review_count == 1
    high = published.rating
    assert line.encoders.rows["text"] == 2
    (published,) = await line.send(review("r1", "boot", 1.0, "fell apart", time_s=2))
    assert published.review_count == 1
    assert published.rating < high
    (published,) = await line.send(review("r1", "boot", 5.0, "late and older", time_s=1))
    assert published.rating < high


async def test_reviews_words_are_judged_as_they_come_and_published_with_the_product() -> None:
    line = Line()
    (silent,) = await line.send(event(upsert=boot()))
    assert not silent.HasField("review_sentiment")
    (praised,) = await line.send(review("r1", "boot", 5.0, "I love these, a perfect fit"))
    (mixed,) = await line.send(review("r2", "boot", 1.0, "Awful. They fell apart, a waste of money"))
    assert praised.review_sentiment > 0.7 > mixed.review_sentiment
    (silent_stars,) = await line.send(review("r3", "boot", 1.0, ""))
    assert silent_stars.review_sentiment == mixed.review_sentiment
    assert line.encoders.rows["sentiment"] == 2


async def test_five_thousand_copies_of_a_review_move_a_product_no_further_than_a_handful_of_shoppers_would() -> None:
    """Invariant 6 besides: the worker reads a bounded number of a window's reviews."""
    line = Line()
    honest = [review(f"r{i}", "boot", 5.0, f"lovely boots number {i}", time_s=-86_400 * (i + 1)) for i in range(60)]
    (before,) = await line.send(event(upsert=boot()), *honest)
    copies = [
        review(f"x{i}", "boot", 1.0, "Garbage!  Do not buy" if i % 2 else "garbage! do not BUY") for i in range(5_000)
    ]
    for start in range(0, 5_000, 1_000):
        (after,) = await line.send(*copies[start : start + 1_000])
    assert after.review_count == 5_060
    assert before.rating > after.rating > 4.0
    assert before.review_sentiment > after.review_sentiment > 0.6
    assert line.store.load(["boot"])["boot"].reviews.stars == (5_000, 0, 0, 0, 60)


async def test_a_flood_comes_to_the_same_in_any_batches_and_in_any_order() -> None:
    flood = [review(f"x{i}", "boot", 1.0 + i % 3, f"bad {i % 40}", time_s=i) for i in range(120)]
    moved = [review(f"x{i}", "boot", 5.0, "good after all", time_s=500 + i) for i in range(0, 120, 7)]
    states = []
    for listed, size in ((flood + moved, 137), (flood + moved, 10), ([*reversed(moved), *reversed(flood)], 33)):
        line = Line()
        await line.send(event(upsert=boot()))
        for start in range(0, len(listed), size):
            await line.send(*listed[start : start + size])
        states.append(line.store.load(["boot"])["boot"].reviews)
    assert states[0].weighed.text_sum is not None
    for other in states[1:]:
        np.testing.assert_array_equal(other.weighed.text_sum, states[0].weighed.text_sum)
        assert replace(other.weighed, text_sum=None) == replace(states[0].weighed, text_sum=None)
        assert (other.stars, other.text_count) == (states[0].stars, states[0].text_count)


@pytest.mark.parametrize(
    "text", ["", "   ", "очень хорошие сапоги", "とても良い靴です", "word " * 50_000, "\0\0", "!!!"]
)
async def test_any_text_gives_a_review_that_counts(text: str) -> None:
    line = Line()
    (published,) = await line.send(event(upsert=boot()), review("r1", "boot", 4.0, text))
    assert published.review_count == 1
    assert published.HasField("review_sentiment") == bool(text.replace("\0", "").strip())
    assert line.letters.sent == []


async def test_a_review_that_moves_to_another_product_leaves_the_first() -> None:
    line = Line()
    await line.send(event(upsert=boot()), event(upsert=boot(product_id="hat")))
    await line.send(review("r1", "boot", 5.0, "lovely"))
    published = await line.send(review("r1", "hat", 4.0, "for the hat", time_s=1))
    assert {each.product_id: each.review_count for each in published} == {"boot": 0, "hat": 1}


async def test_invariant_5_another_model_judges_all_reviews_anew_before_one_is_added(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/catalog.db"
    bootstrap.migrate(Settings(database_url=url))
    first = Line(url=url)
    told = [review(f"r{i}", "boot", 1.0 + i % 5, f"text {i}", time_s=-40_000 * i) for i in range(12)]
    await first.send(event(upsert=boot()), *told)
    second, alone = Line(version="m2", url=url), Line(version="m2")
    second.encoders.salt = alone.encoders.salt = b"other"
    second.records = {topic: list(records) for topic, records in first.records.items()}
    await second.send(review("r12", "boot", 2.0, "text 12"), review("r3", "boot", 5.0, "text 3, better", time_s=9))
    await alone.send(
        event(upsert=boot()),
        *told,
        review("r12", "boot", 2.0, "text 12"),
        review("r3", "boot", 5.0, "text 3, better", time_s=9),
    )
    rebuilt, fresh = (line.store.load(["boot"])["boot"].reviews for line in (second, alone))
    np.testing.assert_array_equal(rebuilt.weighed.text_sum, fresh.weighed.text_sum)
    assert replace(rebuilt.weighed, text_sum=None) == replace(fresh.weighed, text_sum=None)
    assert (rebuilt.stars, rebuilt.text_count, rebuilt.model_version) == (fresh.stars, fresh.text_count, "m2")
    assert {each.model_version for each in second.store.reviews_of("boot", (-1, ""), 100)} == {"m2"}
    await first.worker.close()
    await second.worker.close()
