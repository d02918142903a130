"""H&M's catalogue and purchases, as domain values. Reads hm_week5core (CSV) and hm_full_tables (Parquet).

May import domain and errors. The training and the import read the data set through here, and only here.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import statistics
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from freshet.domain.products import Image, Product
from freshet.errors import ConfigurationError, InvalidInput

SPLITS = ("train", "valid", "test")
BRAND = "H&M"
_CATEGORIES = ("index_group_name", "garment_group_name", "product_type_name")
_ATTRIBUTES = {
    "colour": "colour_group_name",
    "shade": "perceived_colour_value_name",
    "base_colour": "perceived_colour_master_name",
    "pattern": "graphical_appearance_name",
    "group": "product_group_name",
    "department": "department_name",
    "section": "section_name",
    "range": "index_name",
    "product_code": "product_code",
}
_WHOLE_TABLE = "lastweek_2020-09-16_22_all_purchases.parquet"
_DAY_US = 86_400_000_000


class Purchase(NamedTuple):
    """One purchase. `price` is H&M's normalised one, not a currency; `split` is empty where the data set has none."""

    customer_id: str
    article_id: str
    time_us: int
    price: float
    split: str


def read_purchases(directory: Path, splits: Sequence[str] = ("train",)) -> Iterator[Purchase]:
    """The purchases of these splits, in the file's order; all of them where the data set has no splits.

    The data set knows the day alone. Within its day a purchase's time follows from its customer and article, so
    that every run gives the same times. Raises ConfigurationError and InvalidInput.
    """
    unknown = [split for split in splits if split not in SPLITS]
    if unknown or not splits:
        raise ConfigurationError(f"splits is {','.join(splits)!r}; name some of {', '.join(SPLITS)}")
    compressed = directory / "purchases_split.csv.gz"
    plain = directory / "purchases_split.csv"
    if compressed.exists() or plain.exists():
        path = compressed if compressed.exists() else plain
        wanted = frozenset(splits)
        for place, row in _csv_rows(path):
            if row["split"] in wanted:
                yield _purchase(row, place)
    elif (directory / _WHOLE_TABLE).exists():
        for place, row in _parquet_rows(directory / _WHOLE_TABLE, ("t_dat", "customer_id", "article_id", "price")):
            yield _purchase(row, place)
    else:
        raise ConfigurationError(f"{directory} holds neither purchases_split.csv.gz nor {_WHOLE_TABLE}")


def has_splits(directory: Path) -> bool:
    return any((directory / name).exists() for name in ("purchases_split.csv.gz", "purchases_split.csv"))


def read_products(directory: Path, *, images: bool = True) -> Iterator[Product]:
    """The articles, each with the median price of its *train* purchases (none there: price unknown).

    `images`: put the picture's bytes inside, so that a worker needs no access to this folder.
    """
    prices = _median_prices(directory)
    pictures = directory / "images"
    for place, row in _articles(directory):
        article_id = row["article_id"].zfill(10)
        if not article_id.strip("0"):
            raise InvalidInput("article_id", f"is empty in {place}")
        picture = pictures / f"{article_id}.jpg"
        yield Product(
            product_id=article_id,
            title=row["prod_name"],
            description=row.get("detail_desc") or "",
            brand=BRAND,
            categories=tuple(row[column] for column in _CATEGORIES if row.get(column)),
            price=prices.get(article_id),
            image=Image(content=picture.read_bytes()) if images and picture.exists() else None,
            attributes={name: row[column] for name, column in _ATTRIBUTES.items() if row.get(column)},
        )


def _median_prices(directory: Path) -> dict[str, float]:
    seen: defaultdict[str, list[float]] = defaultdict(list)
    for purchase in read_purchases(directory, ("train",)):
        seen[purchase.article_id].append(purchase.price)
    return {article_id: statistics.median(prices) for article_id, prices in seen.items()}


def _purchase(row: dict[str, str], place: str) -> Purchase:
    try:
        day = datetime.strptime(row["t_dat"][:10], "%Y-%m-%d").replace(tzinfo=UTC)
        price = float(row["price"])
    except (KeyError, ValueError) as error:
        raise InvalidInput("", f"{place} is no purchase: {error}") from error
    article_id = row["article_id"].zfill(10)
    digest = hashlib.blake2b(f"{row['customer_id']}/{article_id}".encode(), digest_size=8).digest()
    within_us = int.from_bytes(digest, "little") % (_DAY_US // 1_000) * 1_000
    return Purchase(
        row["customer_id"], article_id, int(day.timestamp()) * 1_000_000 + within_us, price, row.get("split", "")
    )


def _articles(directory: Path) -> Iterator[tuple[str, dict[str, str]]]:
    if (directory / "articles.csv").exists():
        return _csv_rows(directory / "articles.csv")
    if (directory / "articles.parquet").exists():
        columns = ("article_id", "prod_name", "detail_desc", *_CATEGORIES, *_ATTRIBUTES.values())
        return _parquet_rows(directory / "articles.parquet", columns)
    raise ConfigurationError(f"{directory} holds neither articles.csv nor articles.parquet; name the data set's folder")


def _csv_rows(path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    with ExitStack() as stack:
        if path.suffix == ".gz":
            lines = stack.enter_context(gzip.open(path, "rt", encoding="utf-8", newline=""))
        else:
            lines = stack.enter_context(path.open(encoding="utf-8", newline=""))
        for number, row in enumerate(csv.DictReader(lines), start=2):
            yield f"{path}:{number}", row


def _parquet_rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[str, dict[str, str]]]:
    import pyarrow.parquet as parquet

    first = 0
    with parquet.ParquetFile(path) as table:
        for batch in table.iter_batches(8_192, columns=list(dict.fromkeys(columns))):
            for place, row in enumerate(batch.to_pylist(), start=first):
                yield f"{path}:{place}", {name: "" if value is None else str(value) for name, value in row.items()}
            first += batch.num_rows
