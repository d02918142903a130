"""The demo against a running stack: fill it, click, compare, measure. May import ingest and this room."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from freshet.codec.tokens import read_token, write_token
from freshet.demo.client import ShopClient
from freshet.demo.page import Shown, render
from freshet.demo.shop import Shop, interaction_events, product_events, review_events
from freshet.demo.shoppers import hit_rate, popularity_lists
from freshet.domain.products import Product
from freshet.errors import DependencyDown
from freshet.ingest.commands import publish_all
from freshet.ingest.publish import Summary
from freshet.ingest.waiting import wait_applied
from freshet.settings import Settings
from freshet.v1 import recommendation_service_pb2 as pb

LIST_SIZE = 10
CLICKS_MEASURED = 200
AT_ONCE = 4
AWAY_SECONDS = 1.0
MOST_MEASURED_SHOPPERS = 1_000


@dataclass(frozen=True)
class Measured:
    """`click_ms` has one entry per click."""

    hit_rate: float
    popularity: float
    shoppers: int
    click_ms: Sequence[float]

    def percentile(self, share: float) -> float:
        return float(np.percentile(self.click_ms, share))


@dataclass(frozen=True)
class Changed:
    """One shopper's list before and after a few clicks."""

    user_id: str
    before: Sequence[Shown]
    clicked: Sequence[Shown]
    after: Sequence[Shown]

    @property
    def answer_changed(self) -> bool:
        return [shown.product_id for shown in self.before] != [shown.product_id for shown in self.after]


def fill(settings: Settings, shop: Shop, marker: Path, console: Console) -> None:
    """Publish the shop through the running line, once, and wait until the workers have applied it.

    `marker` remembers what was published, with where it landed: a run that was cut short waits, and repeats nothing.
    """
    if marker.is_file() and (kept := json.loads(marker.read_text())).get("fingerprint") == shop.fingerprint:
        landed = Summary(last={(p.topic, p.partition): p for p in read_token(kept["token"])})
        wait_applied(settings, landed, console=console)
        return
    parts = [
        publish_all(settings, product_events(shop), "products", console),
        publish_all(settings, review_events(shop), "reviews", console),
        publish_all(settings, interaction_events(shop), "interactions", console),
    ]
    token = write_token(position for part in parts for position in part.last.values())
    marker.write_text(json.dumps({"fingerprint": shop.fingerprint, "token": token}))
    wait_applied(settings, *parts, console=console)


async def measure_hits(client: ShopClient, shop: Shop) -> tuple[float, float, int]:
    """Hit rate at 10 on choices never published, popularity's beside it, and over how many shoppers."""
    shoppers = shop.shoppers[:MOST_MEASURED_SHOPPERS]
    place = {product.product_id: number for number, product in enumerate(shop.products)}
    asked = [
        (shopper.user_id, sorted({shop.products[choice.item].product_id for choice in shopper.history}))
        for shopper in shoppers
    ]
    answers = await client.recommend_all(asked, at_once=AT_ONCE)
    ours = [[place[p.product_id] for p in answer.products if p.product_id in place] for answer in answers]
    popular = popularity_lists(shop.shoppers, len(shop.products), LIST_SIZE)[: len(shoppers)]
    return hit_rate(ours, shoppers), hit_rate(popular, shoppers), len(shoppers)


async def measure_clicks(client: ShopClient, shop: Shop, run: str) -> list[float]:
    """Milliseconds from click to an answer that counts it, one shopper after another."""
    dice = random.Random(run)
    # The first few open connections and warm caches: every service has them behind it.
    for number in range(10):
        await client.click_to_answer(f"visitor-{run}-{number}", dice.choice(shop.products).product_id)
    times = []
    for number in range(CLICKS_MEASURED):
        elapsed, _ = await client.click_to_answer(f"visitor-{run}-{number % 50}", dice.choice(shop.products).product_id)
        times.append(elapsed)
    return times


async def before_and_after(client: ShopClient, shop: Shop, run: str) -> Changed:
    """A new shopper clicks three products that are alike, and asks again at once."""
    user_id = f"guest-{run}"
    dice = random.Random(f"guest {run}")
    first = dice.choice(shop.products)
    alike = [
        product
        for product in shop.products
        if product.categories == first.categories
        and product.attributes["colour"] == first.attributes["colour"]
        and product is not first
    ]
    clicked = [first, *dice.sample(alike, min(2, len(alike)))]
    before = await client.recommend(user_id, page_size=LIST_SIZE, dry_run=True)
    for product in clicked:
        await client.click(user_id, product.product_id)
    after = await client.recommend(user_id, page_size=LIST_SIZE, dry_run=True)
    known = {product.product_id: product for product in shop.products}
    return Changed(
        user_id, shown_of(before, known), [_of_product(product) for product in clicked], shown_of(after, known)
    )


def shown_of(answer: pb.RecommendResponse, known: dict[str, Product]) -> list[Shown]:
    result = []
    for product in answer.products:
        picture = known[product.product_id].image if product.product_id in known else None
        result.append(
            Shown(
                product.product_id,
                product.title,
                product.brand,
                product.price if product.HasField("price") else None,
                product.score,
                product.reason,
                [(part.modality, part.value) for part in product.contributions],
                picture.content if picture else b"",
            )
        )
    return result


def _of_product(product: Product) -> Shown:
    picture = product.image.content if product.image else b""
    return Shown(product.product_id, product.title, product.brand, product.price, 0.0, "clicked just now", (), picture)


def lists_table(changed: Changed) -> Table:
    """Both lists side by side; what is new is marked."""
    table = Table(title=f"What {changed.user_id} is shown", title_justify="left")
    table.add_column("", justify="right")
    table.add_column("before")
    table.add_column("after")
    table.add_column("why")
    known = {shown.product_id for shown in changed.before}
    for place in range(max(len(changed.before), len(changed.after))):
        old = changed.before[place].title if place < len(changed.before) else ""
        new = changed.after[place] if place < len(changed.after) else None
        mark = "+ " if new and new.product_id not in known else "  "
        table.add_row(str(place + 1), old, f"{mark}{new.title}" if new else "", new.reason if new else "")
    return table


def write_page(path: Path, changed: Changed, measured: Measured) -> None:
    tiles = {
        "click to answer, median": f"{measured.percentile(50):.1f} ms",
        "click to answer, 99th percentile": f"{measured.percentile(99):.1f} ms",
        "hit rate at 10": f"{measured.hit_rate:.3f}",
        "popularity's hit rate at 10": f"{measured.popularity:.3f}",
    }
    path.write_text(render(changed.user_id, changed.before, changed.clicked, changed.after, tiles), encoding="utf-8")


async def keep_clicking(client: ShopClient, shop: Shop, console: Console, seconds_between: float = 1.0) -> None:
    """Live, until cancelled: a shopper clicks, and the first of their new list is printed."""
    dice = random.Random(time.time_ns())
    while True:
        shopper = dice.choice(shop.shoppers)
        product = shop.products[dice.choice(shopper.held_out)]
        try:
            elapsed, answer = await client.click_to_answer(shopper.user_id, product.product_id)
        except DependencyDown as error:
            # Whoever looks at the demo may stop a part of it: the console says which, and shoppers come back.
            console.print(f"{shopper.user_id} got no answer: {error}", markup=False)
            await asyncio.sleep(AWAY_SECONDS)
            continue
        best = answer.products[0].title if answer.products else "nothing"
        console.print(f"{shopper.user_id} clicked [bold]{product.title}[/bold] → {best} [dim]({elapsed:.1f} ms)[/dim]")
        await asyncio.sleep(seconds_between)
