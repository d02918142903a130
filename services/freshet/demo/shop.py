"""The demo's shop, whole: drawn from a seed, written once in the layout that `freshet train` and `publish` read."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from google.protobuf import json_format

from freshet.codec.events import read_product_event, timestamp, write_product
from freshet.demo.catalogue import make_items, make_reviews
from freshet.demo.shoppers import Shopper, make_shoppers
from freshet.domain.products import Product, Upsert
from freshet.ingest.publish import Source
from freshet.v1 import interaction_pb2, product_pb2


@dataclass(frozen=True)
class Shop:
    """`folder` holds products.jsonl, reviews.jsonl and interactions.jsonl; `fingerprint` names this very shop."""

    folder: Path
    fingerprint: str
    products: Sequence[Product]
    shoppers: Sequence[Shopper]
    reviews: int

    @property
    def interactions(self) -> int:
        return sum(len(shopper.history) for shopper in self.shoppers)


def open_shop(
    folder: Path, products: int, seed: int, now_us: int, drawn: Callable[[int], None] = lambda count: None
) -> Shop:
    """The shop in `folder`, drawn first when it is not there or another. `drawn` hears of every 50 pictures."""
    about = folder / "shop.json"
    wanted = {"products": products, "seed": seed, "shoppers": shopper_count(products), "version": 1}
    if about.is_file():
        kept = json.loads(about.read_text())
        if {name: kept.get(name) for name in wanted} == wanted:
            return _read(folder, kept)
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    items = []
    for item in make_items(products, seed):
        items.append(item)
        if len(items) % 50 == 0:
            drawn(len(items))
    reviews = list(make_reviews(items, seed, now_us))
    shoppers = make_shoppers(items, shopper_count(products), seed, now_us)
    _write(folder / "products.jsonl", (write_product(item.product) for item in items))
    _write(
        folder / "reviews.jsonl",
        (
            product_pb2.Review(
                review_id=review.review_id,
                product_id=review.product_id,
                rating=review.rating,
                text=review.text,
                event_time=timestamp(review.version.event_time_us),
            )
            for review in reviews
        ),
    )
    _write(folder / "interactions.jsonl", _interactions(shoppers, [item.product.product_id for item in items]))
    about.write_text(json.dumps({**wanted, "now_us": now_us, "reviews": len(reviews), "held_out": _future(shoppers)}))
    return _read(folder, json.loads(about.read_text()))


def shopper_count(products: int) -> int:
    """As many as give every product a dozen interactions or so, up to 2,000."""
    return max(60, min(2_000, products * 2 // 3))


def product_events(shop: Shop) -> Iterator[Source]:
    for product in shop.products:
        yield Source(
            product.product_id,
            product_pb2.ProductEvent(
                event_id=f"{shop.fingerprint}-{product.product_id}", upsert=write_product(product)
            ),
        )


def review_events(shop: Shop) -> Iterator[Source]:
    for place, line in _lines(shop.folder / "reviews.jsonl"):
        yield Source(place, json_format.Parse(line, product_pb2.Review()))


def interaction_events(shop: Shop) -> Iterator[Source]:
    for place, line in _lines(shop.folder / "interactions.jsonl"):
        yield Source(place, json_format.Parse(line, interaction_pb2.Interaction()))


def _interactions(shoppers: Sequence[Shopper], ids: Sequence[str]) -> Iterator[interaction_pb2.Interaction]:
    choices = sorted((choice for shopper in shoppers for choice in shopper.history), key=lambda choice: choice.time_us)
    for number, choice in enumerate(choices):
        yield interaction_pb2.Interaction(
            event_id=f"demo-{number}",
            user_id=choice.user_id,
            product_id=ids[choice.item],
            kind=choice.kind.name,
            event_time=timestamp(choice.time_us),
        )


def _future(shoppers: Sequence[Shopper]) -> dict[str, object]:
    return {
        shopper.user_id: {
            "likes": shopper.likes,
            "held_out": list(shopper.held_out),
            "history": [[c.item, int(c.kind), c.time_us] for c in shopper.history],
        }
        for shopper in shoppers
    }


def _read(folder: Path, about: dict[str, object]) -> Shop:
    from freshet.demo.shoppers import Choice
    from freshet.domain.interactions import Kind

    products = []
    for _, line in _lines(folder / "products.jsonl"):
        change = read_product_event(product_pb2.ProductEvent(upsert=json_format.Parse(line, product_pb2.Product())))
        assert isinstance(change, Upsert)
        products.append(change.product)
    held_out = about["held_out"]
    assert isinstance(held_out, dict)
    shoppers = [
        Shopper(
            user_id,
            kept["likes"],
            tuple(Choice(user_id, item, Kind(kind), time_us) for item, kind, time_us in kept["history"]),
            tuple(kept["held_out"]),
        )
        for user_id, kept in held_out.items()
    ]
    fingerprint = f"demo-{about['products']}-{about['seed']}-{about['now_us']}"
    reviews = about["reviews"]
    assert isinstance(reviews, int)
    return Shop(folder, fingerprint, products, shoppers, reviews)


def _write(
    path: Path, messages: Iterator[product_pb2.Product | product_pb2.Review | interaction_pb2.Interaction]
) -> None:
    with path.open("w", encoding="utf-8") as file:
        for message in messages:
            file.write(json_format.MessageToJson(message, indent=None, preserving_proto_field_name=True) + "\n")


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            yield f"{path}:{number}", line
