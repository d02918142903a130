"""Products per second through the catalogue: encode, fuse, store, publish, index; beside what Triton alone does.

    python -m benchmarks.catalog [--rows 105542] [--json]

The peer makes the same calls of the same encoders for the same products, with nothing else running and everything
preprocessed beforehand. The products are on Kafka before the catalogue worker starts; our clock runs from its first
applied batch, which is not counted, until the index has applied the last representation.
Data: ../shared/data/hm_week5core (with pictures) and hm_full_tables (text and price); a set that is absent is left
out and named. `ratio_to_bare_triton` is hm_week5core's with the default encoders, whose texts are read by words alone;
`ratio_with_sentences` the same with MiniLM in 8 bits beside them.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from rich.console import Console

from benchmarks.models import model_folder, sentences_model_folder
from benchmarks.report import report
from freshet import bootstrap
from freshet.adapters.kafka import topic_bounds
from freshet.domain.products import Product
from freshet.domain.representations import Matrix, Modality
from freshet.errors import ConfigurationError, StackError
from freshet.ingest import hm
from freshet.ingest.commands import publish_all
from freshet.ingest.sources import hm_products
from freshet.local.stack import LocalStack
from freshet.ports import ProgressStore
from freshet.representation import preprocessing as pre
from freshet.representation.manifest import ENCODED, Manifest
from freshet.settings import Settings
from freshet.stream.lag import lag_of, worker_topics

DATA = Path(__file__).parents[2] / "shared" / "data"
CHUNK = 128
AT_ONCE = 2
BARE_PRODUCTS = 3_186
STALLED_SECONDS = 120.0
ALL = 10_000_000
WORDS, SENTENCES = "words", "words and MiniLM int8"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=105_542, help="of hm_full_tables")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = []
    summary: dict[str, Any] = {}
    for name, most, texts in (
        ("hm_week5core", ALL, WORDS),
        ("hm_week5core", ALL, SENTENCES),
        ("hm_full_tables", arguments.rows, WORDS),
    ):
        folder = DATA / name
        if not folder.is_dir():
            summary[f"left_out_{name}"] = "the data set is not there"
            continue
        row, memory = measure(folder, most, model_folder() if texts == WORDS else sentences_model_folder())
        rows.append({"data": name, "texts": texts} | row)
        if texts == SENTENCES:
            summary["ratio_with_sentences"] = row["ratio"]
            continue
        summary.setdefault("ratio_to_bare_triton", row["ratio"])
        summary[name] = row
        summary["memory_mb"] = memory
    if not rows:
        raise ConfigurationError(f"no data set in {DATA}; nothing was measured")
    report("catalog", rows, summary, arguments.json)


def measure(folder: Path, most: int, model: Path) -> tuple[dict[str, Any], dict[str, int]]:
    """One data set through a stack of its own that serves `model`. Returns its row, and each process's memory."""
    console = Console(stderr=True)
    with (
        tempfile.TemporaryDirectory(prefix="freshet-catalog-") as home,
        LocalStack(Path(home), {"model_dir": model, "log_level": "warning"}, usual_ports=False) as stack,
    ):
        settings = stack.settings
        stack.stop_component("catalog")
        sample = list(itertools.islice(hm.read_products(folder), min(BARE_PRODUCTS, most)))
        bare = asyncio.run(bare_rate(settings, sample))
        published = publish_all(settings, itertools.islice(hm_products(folder), most), "products", console).published
        with closing(bootstrap.profile_store(settings)) as store:
            waiting = Remaining(settings, store, "catalog")
            stack.start_component("catalog")
            waiting.until(published - 1)
            before, left, begun = cpu_seconds(stack), waiting.left(), time.perf_counter()
            waiting.until(0)
            stored = time.perf_counter() - begun
            Remaining(settings, store, "index").until(0)
            seconds = time.perf_counter() - begun
        busy = {name: after - before[name] for name, after in cpu_seconds(stack).items()}
        indexed = asyncio.run(count(settings, published))
        memory = {name: resident_mb(stack, name) for name in stack.names}
    row = {
        "products": left,
        "with_picture": sum(product.image is not None for product in sample),
        "indexed": indexed,
        "seconds_to_stored": round(stored, 1),
        "seconds_to_indexed": round(seconds, 1),
        "products_per_second": round(left / seconds, 1),
        "bare_triton_per_second": round(bare, 1),
        "ratio": round(left / seconds / bare, 3),
        "cpu_us_per_product": {name: round(1e6 * used / left) for name, used in busy.items() if used > 0},
    }
    return row, memory


class Remaining:
    """The records of a worker's topics, as they are now, that it has not applied yet."""

    def __init__(self, settings: Settings, store: ProgressStore, worker: str) -> None:
        self._store, self._worker = store, worker
        self._ends = topic_bounds(settings.kafka_url, worker_topics(settings.topics)[worker])

    def left(self) -> int:
        return sum(row.lag_records for row in lag_of(self._worker, self._store.progress(self._worker), self._ends))

    def until(self, most: int) -> None:
        """Wait until at most so many are left. Raises StackError when the worker gets no further."""
        last, since = -1, time.monotonic()
        while (left := self.left()) > most:
            if left != last:
                last, since = left, time.monotonic()
            elif time.monotonic() - since > STALLED_SECONDS:
                raise StackError(f"{self._worker} gets no further: {left:,} records are left")
            time.sleep(0.05)


async def bare_rate(settings: Settings, products: Sequence[Product]) -> float:
    """Products per second that Triton encodes and fuses, of chunks preprocessed before the clock starts."""
    manifest = bootstrap.model_manifest(settings)
    encoders = bootstrap.encoders(settings)
    read = manifest.text_reader()
    chunks = [prepare(products[start : start + CHUNK], manifest, read) for start in range(0, len(products), CHUNK)]
    turn = asyncio.Semaphore(AT_ONCE)

    async def encode(chunk: dict[Modality, tuple[np.ndarray, dict[str, np.ndarray]]], size: int) -> None:
        async with turn:
            parts: dict[Modality, Matrix] = {}
            present = np.zeros((size, len(ENCODED)), dtype=np.bool_)

            async def one(column: int, modality: Modality) -> None:
                if modality in chunk:
                    where, inputs = chunk[modality]
                    matrix = np.zeros((size, manifest.encoded_size(modality)), dtype=np.float32)
                    matrix[where] = await encoders.encode(modality, inputs)
                    parts[modality], present[where, column] = matrix, True

            await asyncio.gather(*(one(column, modality) for column, modality in enumerate(ENCODED)))
            await encoders.fuse(parts, present)

    await encode(chunks[0], len(products[:CHUNK]))
    begun = time.perf_counter()
    sizes = [len(products[start : start + CHUNK]) for start in range(0, len(products), CHUNK)]
    await asyncio.gather(*map(encode, chunks, sizes))
    rate = len(products) / (time.perf_counter() - begun)
    await encoders.close()
    return rate


def prepare(
    products: Sequence[Product], manifest: Manifest, read: pre.TextReader
) -> dict[Modality, tuple[np.ndarray, dict[str, np.ndarray]]]:
    """Per modality which of the products have it, and the encoder's inputs for these."""
    ready: dict[Modality, tuple[np.ndarray, dict[str, Any]]] = {
        Modality.TEXT: (np.arange(len(products)), read([pre.product_text(p) for p in products]))
    }
    pictured = [i for i, p in enumerate(products) if p.image is not None]
    if pictured:
        contents = [image.content for i in pictured if (image := products[i].image) is not None]
        ready[Modality.IMAGE] = (np.array(pictured), pre.image_pixels(contents))
    priced = [i for i, p in enumerate(products) if p.price is not None]
    if priced:
        prices = [products[i].price or 0.0 for i in priced]
        ready[Modality.PRICE] = (
            np.array(priced),
            pre.price_features(prices, [products[i].categories for i in priced], manifest.typical_prices),
        )
    return ready


async def count(settings: Settings, expected: int) -> int:
    """Rows that the index shows, once they are all there or half a minute has passed."""
    index = bootstrap.vector_index(settings, bootstrap.model_manifest(settings).layout)
    try:
        deadline = time.monotonic() + 30.0
        while True:
            found = await index.count()
            if found >= expected or time.monotonic() > deadline:
                return found
            await asyncio.sleep(0.2)
    finally:
        await index.close()


def cpu_seconds(stack: LocalStack) -> dict[str, float]:
    """Processor time of each component's process and its children so far."""
    used = {}
    for name in stack.names:
        process = psutil.Process(stack.pid(name))
        times = [each.cpu_times() for each in [process, *process.children(recursive=True)]]
        used[name] = sum(each.user + each.system for each in times)
    return used


def resident_mb(stack: LocalStack, name: str) -> int:
    """Resident memory of a component's process and its children."""
    process = psutil.Process(stack.pid(name))
    return sum(each.memory_info().rss for each in [process, *process.children(recursive=True)]) // 2**20


if __name__ == "__main__":
    main()
