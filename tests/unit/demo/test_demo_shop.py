"""The demo's shop is the same for the same seed, looks like something, and holds choices back honestly."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from freshet.demo import pictures
from freshet.demo.catalogue import COLOURS, KINDS, make_items
from freshet.demo.page import Shown, render
from freshet.demo.shop import interaction_events, open_shop, product_events
from freshet.demo.shoppers import Demand, Shopper, hit_rate, make_shoppers, popularity_lists
from freshet.errors import InvalidInput
from freshet.ingest.records import RecordWriter
from freshet.settings import Topics

NOW_US = 1_764_244_800_000_000


@pytest.mark.parametrize("kind", list(KINDS))
def test_every_kind_is_a_picture_of_its_colour(kind: str) -> None:
    content = pictures.draw(kind, COLOURS["red"], "plain", 3)
    pixels = np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)
    assert pixels.shape == (pictures.SIZE, pictures.SIZE, 3)
    red = (pixels[..., 0] > 110) & (pixels[..., 1] < 90) & (pixels[..., 2] < 100)
    assert 0.08 < red.mean() < 0.7


def test_a_pattern_changes_the_picture_and_the_seed_decides_it() -> None:
    drawn = {pattern: pictures.draw("dress", COLOURS["navy"], pattern, 5) for pattern in pictures.PATTERNS}
    assert len(set(drawn.values())) == len(pictures.PATTERNS)
    assert drawn["floral"] == pictures.draw("dress", COLOURS["navy"], "floral", 5)


def test_the_same_seed_gives_the_same_shop_and_another_gives_another() -> None:
    assert list(make_items(20, 1)) == list(make_items(20, 1))
    assert list(make_items(20, 1)) != list(make_items(20, 2))


def test_held_out_choices_are_never_part_of_the_history() -> None:
    items = list(make_items(120, 1))
    for shopper in make_shoppers(items, 40, 1, NOW_US):
        assert not {choice.item for choice in shopper.history} & set(shopper.held_out)
        assert all(choice.time_us < NOW_US for choice in shopper.history)


def test_taste_tells_more_about_the_future_than_popularity_does() -> None:
    items = list(make_items(300, 1))
    shoppers = make_shoppers(items, 100, 1, NOW_US)
    demand, dice = Demand(items), np.random.default_rng([1, 7])
    chance, _ = demand.taste(dice)
    best = [int(item) for item in np.argsort(-chance) if item not in {c.item for c in shoppers[0].history}][:10]
    assert len(set(best)) == 10
    assert chance[best].sum() > 3 * demand.popularity()[best].sum()


def test_a_hit_is_at_least_one_held_out_choice() -> None:
    shoppers = [Shopper("a", "", (), (1, 2)), Shopper("b", "", (), (3,))]
    assert hit_rate([[1, 2, 9], [8, 9]], shoppers) == 0.5


def test_popularity_leaves_out_what_the_shopper_knows() -> None:
    items = list(make_items(100, 1))
    shoppers = make_shoppers(items, 60, 1, NOW_US)
    for shown, shopper in zip(popularity_lists(shoppers, 100, 10), shoppers, strict=True):
        assert len(shown) == 10
        assert not set(shown) & {choice.item for choice in shopper.history}


def test_a_shop_is_drawn_once_and_every_event_of_it_keeps_the_contract(tmp_path: Path) -> None:
    drawn: list[int] = []
    shop = open_shop(tmp_path / "shop", 100, 1, NOW_US, drawn.append)
    again = open_shop(tmp_path / "shop", 100, 1, NOW_US + 5, drawn.append)
    assert drawn == [50, 100]
    assert again == shop
    records = RecordWriter(Topics(), source="test", record_bytes=1_000_000)
    for source in (*product_events(shop), *interaction_events(shop)):
        assert not isinstance(source.event, InvalidInput)
        records.write(source.event, NOW_US)


def test_the_page_holds_its_pictures_and_escapes_what_it_shows() -> None:
    shown = Shown("p", "<script>alert(1)</script>", "B&B", 3.5, 1.0, "because", [("text", 0.7)], b"\xff\xd8jpeg")
    page = render("guest", [shown], [shown], [shown], {"figure": "1 ms"})
    assert "<script>" not in page
    assert "B&amp;B" in page
    assert page.count("data:image/jpeg;base64,") == 3
    assert "http" not in page
