"""The H&M layout: articles, pictures and purchases of the public competition's tables, as Freshet's values.

Reads `articles.csv` or `articles.parquet`, `images/ARTICLE.jpg`, and `purchases_split.csv.gz` or any `*purchases*.parquet`.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from freshet.domain.products import Image, Product
from freshet.errors import ConfigurationError

CATEGORIES = ("index_group_name", "garment_group_name", "product_type_name")
ATTRIBUTES = {
    "colour": "colour_group_name",
    "shade": "perceived_colour_value_name",
    "colour family": "perceived_colour_master_name",
    "pattern": "graphical_appearance_name",
    "department": "department_name",
    "section": "section_name",
    "group": "product_group_name",
    "line": "index_name",
}


class Purchase(NamedTuple):
    user_id: str
    product_id: str
    price: float
    time_us: int


def read_products(folder: Path) -> Iterator[Product]:
    """The articles with their median price and, where there is one, their picture. Raises ConfigurationError."""
    prices = _prices(folder)
    pictures = folder / "images"
    for row in _articles(folder):
        product_id = str(row["article_id"]).zfill(10)
        picture = pictures / f"{product_id}.jpg"
        yield Product(
            product_id=product_id,
            title=_text(row.get("prod_name")),
            description=_text(row.get("detail_desc")),
            categories=tuple(_text(row.get(name)) for name in CATEGORIES if _text(row.get(name))),
            price=prices.get(product_id),
            image=Image(content=picture.read_bytes()) if picture.is_file() else None,
            attributes={name: _text(row.get(column)) for name, column in ATTRIBUTES.items() if _text(row.get(column))},
        )


def has_splits(folder: Path) -> bool:
    """Whether the purchases say which split they belong to."""
    return (folder / "purchases_split.csv.gz").is_file()


def read_purchases(folder: Path, splits: Sequence[str] = ("train",)) -> Iterator[Purchase]:
    """Purchases in order of time: each on its real day, spread over that day in a fixed way, since no hour is known.

    `splits` counts only where the file has that column. Raises ConfigurationError.
    """
    kept = [
        Purchase(row["customer_id"], str(row["article_id"]).zfill(10), float(row["price"]), _time_us(row))
        for row in _purchases(folder)
        if "split" not in row or row["split"] in splits
    ]
    kept.sort(key=lambda purchase: (purchase.time_us, purchase.user_id, purchase.product_id))
    yield from kept


def _time_us(row: Mapping[str, Any]) -> int:
    day = row["t_dat"] if isinstance(row["t_dat"], date) else date.fromisoformat(str(row["t_dat"])[:10])
    # One visit per shopper and day; its purchases follow each other by seconds.
    visit = int.from_bytes(hashlib.blake2b(str(row["customer_id"]).encode(), digest_size=4).digest(), "big")
    place = int.from_bytes(hashlib.blake2b(str(row["article_id"]).encode(), digest_size=2).digest(), "big")
    moment = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(seconds=visit % 82_800 + place % 3_600)
    return int(moment.timestamp()) * 1_000_000


def _prices(folder: Path) -> dict[str, float]:
    """Median paid price per article, of the training split where there are splits."""
    paid: dict[str, list[float]] = defaultdict(list)
    for row in _purchases(folder):
        if row.get("split", "train") == "train":
            paid[str(row["article_id"]).zfill(10)].append(float(row["price"]))
    return {article: median(prices) for article, prices in paid.items()}


def _articles(folder: Path) -> Iterator[Mapping[str, Any]]:
    if (folder / "articles.csv").is_file():
        with (folder / "articles.csv").open(newline="", encoding="utf-8") as file:
            yield from csv.DictReader(file)
    elif (folder / "articles.parquet").is_file():
        yield from _parquet(folder / "articles.parquet")
    else:
        raise ConfigurationError(f"{folder} has neither articles.csv nor articles.parquet")


def _purchases(folder: Path) -> Iterator[Mapping[str, Any]]:
    if has_splits(folder):
        with gzip.open(folder / "purchases_split.csv.gz", "rt", newline="", encoding="utf-8") as file:
            yield from csv.DictReader(file)
        return
    tables = sorted(folder.glob("*purchases*.parquet"))
    if not tables:
        raise ConfigurationError(f"{folder} has neither purchases_split.csv.gz nor a *purchases*.parquet")
    for table in tables:
        yield from _parquet(table)


def _parquet(path: Path) -> Iterator[Mapping[str, Any]]:
    from pyarrow import parquet

    with parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=4_096):
            yield from batch.to_pylist()


def _text(value: object) -> str:
    return "" if value is None else str(value).strip()
