"""What a product and a shopper weigh: bytes in each process's memory, in Milvus' and Kafka's files and in SQL.

    python -m benchmarks.sizing [--products 40000] [--users 10000] [--database postgresql://…] [--json]

Runs the whole stack of its own on made-up products (four sentences, no pictures) through Kafka, and looks twice: with
half the products, and with all. What is reported per product is the difference, so that what a process needs for
itself drops out. Then every shopper gets as many interactions as a profile holds; sizes of SQL are those of tables with
their indexes. Memory is the resident set of a process with its children, and includes what its allocator keeps.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy
from rich.console import Console

from benchmarks.catalog import Remaining, count, resident_mb
from benchmarks.models import COLOURS, KINDS, STUFFS, model_folder
from benchmarks.report import report
from freshet import bootstrap
from freshet.ingest.commands import publish_all
from freshet.ingest.publish import Source
from freshet.local.stack import LocalStack
from freshet.ports import ProgressStore
from freshet.v1 import interaction_pb2, product_pb2

PROCESSES = ("recommend", "catalog", "index", "profiles", "milvus", "kafka")
FILES = ("milvus-data", "kafka-data")
SETTLED_SECONDS = 20.0
"""Milvus builds its graphs after the rows are there: sizes are taken once its files have not grown for so long."""
SETTLE_AT_MOST_SECONDS = 120.0


@dataclass(frozen=True)
class Sizes:
    """Bytes by process, by folder of the data directory, and by table of the database."""

    memory: Mapping[str, int]
    files: Mapping[str, int]
    tables: Mapping[str, int]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--products", type=int, default=40_000)
    parser.add_argument("--users", type=int, default=10_000)
    parser.add_argument("--database", default="", help="an empty PostgreSQL database; default: SQLite")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="freshet-sizing-") as home:
        overrides: dict[str, Any] = {"model_dir": model_folder(), "log_level": "warning"}
        if arguments.database:
            overrides["database_url"] = arguments.database
        with LocalStack(Path(home), overrides, usual_ports=False) as stack:
            rows, summary = measure(stack, arguments.products, arguments.users)
    report("sizing", rows, summary, arguments.json)


def measure(stack: LocalStack, products: int, users: int) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Rows of bytes per product and per shopper, and what they were measured with."""
    console, settings = Console(stderr=True), stack.settings
    layout = bootstrap.model_manifest(settings).layout
    interactions = settings.profiles.recent_products
    events, published = made_up_products(products), 0
    with closing(bootstrap.profile_store(settings)) as store:
        taken: list[Sizes] = []
        for part in (products // 2, products - products // 2):
            published += publish_all(settings, itertools.islice(events, part), "products", console).published
            applied(stack, store, "catalog", "index")
            asyncio.run(count(settings, published))
            settle(stack.data_dir)
            taken.append(sizes(stack))
        half, whole = taken
        publish_all(settings, made_up_interactions(users, interactions, products), "interactions", console)
        applied(stack, store, "profiles")
        after = sizes(stack)
    step = products - products // 2
    rows = [
        *difference("memory", half.memory, whole.memory, step, "product"),
        *difference("files", half.files, whole.files, step, "product"),
        *difference("sql", half.tables, whole.tables, step, "product"),
        *difference("sql", whole.tables, {"profiles": after.tables["profiles"]}, users, "shopper"),
        *difference(
            "files", whole.files, {"kafka-data": after.files["kafka-data"]}, users * interactions, "interaction"
        ),
        *difference("sql", {}, {"behaviour": after.tables["behaviour"]}, products, "product"),
    ]
    return rows, {
        "products": products,
        "dimensions": layout.dimension,
        "indexed_dimensions": layout.searched,
        "users": users,
        "interactions_per_user": interactions,
        "database": settings.database_url.split(":")[0],
        "memory_mb_before_interactions": {name: used // 2**20 for name, used in whole.memory.items()},
        "memory_mb": {name: used // 2**20 for name, used in after.memory.items()},
    }


def difference(
    what: str, before: Mapping[str, int], after: Mapping[str, int], count: int, per: str
) -> list[dict[str, Any]]:
    """One row for each name that grew by a byte or more."""
    grown = {name: (after[name] - before.get(name, 0)) / count for name in after}
    return [{"what": what, "of": name, "bytes": round(each), "per": per} for name, each in grown.items() if each >= 1]


def sizes(stack: LocalStack) -> Sizes:
    return Sizes(
        {name: resident_mb(stack, name) * 2**20 for name in PROCESSES},
        {name: folder_bytes(stack.data_dir / name) for name in FILES},
        table_bytes(stack.settings.database_url),
    )


def folder_bytes(folder: Path) -> int:
    """What its files occupy on the disk, not their length: Milvus and Kafka reserve more than they use."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.lstat().st_blocks * 512
        except FileNotFoundError:
            continue
    return total


def table_bytes(url: str) -> dict[str, int]:
    """By table, its indexes included."""
    if url.startswith("sqlite"):
        query = "SELECT m.tbl_name, SUM(s.pgsize) FROM dbstat s JOIN sqlite_schema m ON m.name = s.name GROUP BY 1"
    else:
        url = url.replace("postgresql:", "postgresql+psycopg:", 1)
        query = "SELECT relname, pg_total_relation_size(relid) FROM pg_catalog.pg_statio_user_tables"
    engine = sqlalchemy.create_engine(url)
    try:
        with engine.connect() as connection:
            return {name: int(used) for name, used in connection.execute(sqlalchemy.text(query))}
    finally:
        engine.dispose()


def applied(stack: LocalStack, store: ProgressStore, *workers: str) -> None:
    for worker in workers:
        Remaining(stack.settings, store, worker).until(0)


def settle(data_dir: Path) -> None:
    """Wait until Milvus' files have stood still for a while, or as long as is bearable."""
    begun = since = time.monotonic()
    last = 0
    while time.monotonic() - since < SETTLED_SECONDS and time.monotonic() - begun < SETTLE_AT_MOST_SECONDS:
        used = folder_bytes(data_dir / "milvus-data")
        if abs(used - last) > 2**20:
            last, since = used, time.monotonic()
        time.sleep(0.5)


def made_up_products(count: int) -> Iterator[Source]:
    random = np.random.default_rng(1)
    for number in range(count):
        colour, stuff, kind = (names[random.integers(8)] for names in (COLOURS, STUFFS, KINDS))
        product = product_pb2.Product(
            product_id=f"product-{number:09d}",
            title=f"{colour.capitalize()} {stuff} {kind} {number}",
            description=f"A {kind} of {stuff}. It comes in {colour}. Model {number}. Wash it at thirty degrees.",
            brand=f"Brand {number % 500}",
            categories=[stuff, kind],
            price=round(float(np.exp(random.normal(3.0, 0.5))), 2),
            currency="EUR",
        )
        yield Source(product.product_id, product_pb2.ProductEvent(upsert=product))


def made_up_interactions(users: int, each: int, products: int) -> Iterator[Source]:
    """`each` clicks of every user, on products of their own choice; what is bought most is bought much more."""
    random = np.random.default_rng(2)
    for _ in range(each):
        chosen = (products * random.random(users) ** 2).astype(np.int64).tolist()
        for user, number in enumerate(chosen):
            click = interaction_pb2.Interaction(
                user_id=f"shopper-{user:09d}",
                product_id=f"product-{number:09d}",
                kind=interaction_pb2.Interaction.CLICK,
            )
            yield Source(click.user_id, click)


if __name__ == "__main__":
    main()
