"""What a model is trained on: products, who touched what, and reviews. Reads our own layout, and H&M's."""

from __future__ import annotations

import csv
import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
from google.protobuf import json_format
from numpy.typing import NDArray

from freshet.codec.events import event_time_us, read_product_event, read_review
from freshet.domain.products import Product, Upsert
from freshet.domain.reviews import Review
from freshet.errors import ConfigurationError, InvalidInput
from freshet.ingest import hm
from freshet.representation import preprocessing as pre
from freshet.representation.evaluation import Held
from freshet.v1 import product_pb2


@dataclass(frozen=True)
class TrainingData:
    """`users` and `items` are int32 (interactions,): who touched which of `products`, positive interactions only.

    `shoppers` are the ids behind `users`.
    """

    products: Sequence[Product]
    pictures: Sequence[bytes | None]
    users: NDArray[np.int32]
    items: NDArray[np.int32]
    reviews: Sequence[Review]
    shoppers: Sequence[str] = ()

    def fingerprint(self) -> str:
        """Changes when anything that training sees changes."""
        digest = hashlib.sha256()
        for product, picture in zip(self.products, self.pictures, strict=True):
            digest.update(
                repr((product.product_id, pre.product_text(product), product.price, product.currency)).encode()
            )
            digest.update(hashlib.sha256(picture or b"").digest())
        digest.update(self.users.tobytes() + self.items.tobytes())
        for review in self.reviews:
            said = (review.review_id, review.product_id, review.rating, review.text, review.version.event_time_us)
            digest.update(repr(said).encode())
        return digest.hexdigest()[:16]


def training_data(
    products: Sequence[Product], interactions: Sequence[tuple[str, str]], reviews: Sequence[Review], folder: Path
) -> TrainingData:
    """From values: `interactions` are (user_id, product_id); those with unknown products are left out."""
    if len(products) < 2:
        raise ConfigurationError(f"there are {len(products)} products to train on; at least 2 are needed")
    number = {product.product_id: i for i, product in enumerate(products)}
    known = [(user, number[product]) for user, product in interactions if product in number]
    user_number = {user: i for i, user in enumerate(dict.fromkeys(user for user, _ in known))}
    return TrainingData(
        products,
        [picture_content(product, folder) for product in products],
        np.array([user_number[user] for user, _ in known], dtype=np.int32),
        np.array([item for _, item in known], dtype=np.int32),
        [review for review in reviews if review.product_id in number],
        list(user_number),
    )


def picture_content(product: Product, folder: Path) -> bytes | None:
    """The picture's file: inline, or beside the data. Addresses on the web are not fetched for training."""
    if product.image is None:
        return None
    if product.image.content:
        return product.image.content
    parts = urlsplit(product.image.uri)
    if parts.scheme not in ("", "file"):
        return None
    path = Path(unquote(parts.path))
    path = path if path.is_absolute() else folder / path
    return path.read_bytes() if path.is_file() else None


def read_hm(folder: Path) -> TrainingData:
    """H&M: the training split alone."""
    purchases = [(purchase.customer_id, purchase.article_id) for purchase in hm.read_purchases(folder, ("train",))]
    return training_data(list(hm.read_products(folder)), purchases, (), folder)


def held_out_hm(folder: Path, data: TrainingData, split: str = "valid") -> Held:
    """H&M: each shopper's purchase of another split, judged by what `data` holds of them."""
    user = {name: i for i, name in enumerate(data.shoppers)}
    item = {product.product_id: i for i, product in enumerate(data.products)}
    pairs = [
        (user[purchase.customer_id], item[purchase.article_id])
        for purchase in hm.read_purchases(folder, (split,))
        if purchase.customer_id in user and purchase.article_id in item
    ]
    targets = np.array(pairs, dtype=np.int32).reshape(-1, 2)
    return Held(data.users, data.items, targets[:, 0], targets[:, 1])


def held_out_last(data: TrainingData, most: int = 1_000) -> Held | None:
    """The last product of at most `most` shoppers who touched three or more, judged by the rest; None without any.

    For weighing what people did against what products are like: train on `without_targets`, or what the encoders
    have seen already looks better than it is.
    """
    _, first = np.unique(np.stack([data.users, data.items], axis=1), axis=0, return_index=True)
    users, items = data.users[np.sort(first)], data.items[np.sort(first)]
    shoppers, last, counts = np.unique(users[::-1], return_index=True, return_counts=True)
    last = len(users) - 1 - last
    chosen = np.flatnonzero(counts >= 3)
    chosen = chosen[:: max(1, len(chosen) // most)][:most]
    if not len(chosen):
        return None
    known = np.ones(len(users), dtype=np.bool_)
    known[last[chosen]] = False
    return Held(users[known], items[known], shoppers[chosen], items[last[chosen]])


def without_targets(data: TrainingData, held: Held) -> TrainingData:
    """The data with only the interactions that `held` knows."""
    return replace(data, users=held.users.astype(np.int32), items=held.items.astype(np.int32))


def read_folder(folder: Path) -> TrainingData:
    """`products.jsonl` (JSON of freshet.v1.Product), `interactions.jsonl` or `.csv`, and `reviews.jsonl`.

    Interactions need `user_id` and `product_id`; kinds DISLIKE and HIDE are left out. Raises ConfigurationError that
    names file and line.
    """
    products = []
    for line, values in _json_lines(folder / "products.jsonl"):
        event = product_pb2.ProductEvent()
        try:
            json_format.ParseDict(values, event.upsert)
            change = read_product_event(event)
        except (json_format.ParseError, InvalidInput) as error:
            raise ConfigurationError(f"{folder / 'products.jsonl'}:{line}: {error}") from error
        if isinstance(change, Upsert):
            products.append(change.product)
    reviews, now_us = [], time.time_ns() // 1_000
    if (folder / "reviews.jsonl").is_file():
        for line, values in _json_lines(folder / "reviews.jsonl"):
            try:
                review = json_format.ParseDict(values, product_pb2.Review())
                reviews.append(read_review(review, event_time_us(review, 0, now_us), line))
            except (json_format.ParseError, InvalidInput) as error:
                raise ConfigurationError(f"{folder / 'reviews.jsonl'}:{line}: {error}") from error
    return training_data(products, list(_interactions(folder)), reviews, folder)


def _interactions(folder: Path) -> Iterator[tuple[str, str]]:
    if (folder / "interactions.csv").is_file():
        with (folder / "interactions.csv").open(newline="", encoding="utf-8") as file:
            rows: list[Mapping[str, Any]] = list(csv.DictReader(file))
    elif (folder / "interactions.jsonl").is_file():
        rows = [values for _, values in _json_lines(folder / "interactions.jsonl")]
    else:
        rows = []
    for row in rows:
        user, product = row.get("user_id") or row.get("userId"), row.get("product_id") or row.get("productId")
        if user and product and row.get("kind") not in ("DISLIKE", "HIDE"):
            yield str(user), str(product)


def _json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    import json

    if not path.is_file():
        raise ConfigurationError(f"{path} is missing; see docs/training.md for the folder's layout")
    with path.open(encoding="utf-8") as file:
        for line, text in enumerate(file, start=1):
            if text.strip():
                try:
                    yield line, json.loads(text)
                except json.JSONDecodeError as error:
                    raise ConfigurationError(f"{path}:{line}: no JSON: {error}") from error
