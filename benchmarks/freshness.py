"""How long until an event counts in an answer: from produce() to the answer of Recommend(at_least) that reflects it.

    python -m benchmarks.freshness [--seconds 20] [--rate 200] [--json]

Starts the whole stack of its own. Clicks come at `--rate` a second in the background while samples are taken one after
the other. With `--clicks-only` no Triton, Milvus and catalogue worker run, and no new product is measured.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import uvloop

from benchmarks.models import model_folder
from benchmarks.report import report
from freshet import bootstrap, garbage
from freshet.adapters.kafka import Producer, ensure_topics
from freshet.codec.tokens import write_token
from freshet.codec.wire import PROTOBUF
from freshet.domain.progress import Position
from freshet.domain.representations import Layout, Modality, Segment, pack
from freshet.local.kafka import temporary_broker
from freshet.local.ports import choose
from freshet.local.stack import LocalStack
from freshet.settings import Settings
from freshet.v1 import interaction_pb2, product_pb2, stream_pb2
from freshet.v1 import recommendation_service_pb2 as pb
from freshet.v1 import recommendation_service_pb2_grpc as rpc

HEADERS = [("content-type", PROTOBUF.encode())]
SIZES = (("text", 256), ("image", 64), ("price", 16), ("reviews", 16), ("joint", 64))
PRODUCTS = 3_000
USERS = 500


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0, help="of sampling per kind of event")
    parser.add_argument("--rate", type=float, default=200.0, help="background clicks per second")
    parser.add_argument("--clicks-only", action="store_true", help="no Triton, no Milvus: ready-made vectors")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="freshet-freshness-") as folder:
        whole = not arguments.clicks_only
        with _stack(Path(folder), whole) as settings:
            layout = bootstrap.model_manifest(settings).layout
            publish_catalogue(settings, layout, PRODUCTS)
            results = uvloop.run(measure(settings, arguments.seconds, arguments.rate, whole))
    rows = [{"event": name, **_quantiles(times)} for name, times in results.items() if len(times)]
    summary: dict[str, Any] = {f"{row['event']}_ms": {"p50": row["p50"], "p99": row["p99"]} for row in rows}
    summary["background_clicks_per_second"] = arguments.rate
    summary["products"] = PRODUCTS
    if not whole:
        summary["new_product_ms"] = None
        summary["note"] = "Triton, Milvus and the catalogue worker were not run"
    report("freshness", rows, summary, arguments.json)


@contextmanager
def _stack(folder: Path, whole: bool) -> Iterator[Settings]:
    """Settings that reach what was started."""
    if whole:
        with LocalStack(folder / "stack", {"model_dir": model_folder()}, usual_ports=False) as stack:
            yield stack.settings
        return
    write_manifest(folder / "model")
    with temporary_broker() as kafka:
        settings = Settings(
            kafka_url=kafka,
            index_url="memory://",
            database_url=f"sqlite:///{folder}/freshet.db",
            model_dir=folder / "model",
            recommend={"port": choose(0)},  # type: ignore[arg-type]
        )
        bootstrap.migrate(settings)
        ensure_topics(kafka, settings.topics)
        with _program(settings, "worker", "profiles"), _program(settings, "serve", "recommend"):
            yield settings


@contextmanager
def _program(settings: Settings, *arguments: str) -> Iterator[None]:
    names = ("kafka_url", "database_url", "index_url", "model_dir")
    environment = os.environ | {f"FRESHET_{name.upper()}": str(getattr(settings, name)) for name in names}
    environment |= {"FRESHET_RECOMMEND": settings.recommend.model_dump_json(), "FRESHET_LOG_LEVEL": "warning"}
    code = "from freshet.cli import main; main()"
    process = subprocess.Popen([sys.executable, "-c", code, *arguments], env=environment, stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


def write_manifest(folder: Path) -> None:
    """A model.json without a model: enough for a service whose vectors are published ready-made."""
    folder.mkdir(parents=True)
    empty: dict[str, Any] = {name: {} for name in ("typical_prices", "ranking", "training", "metrics", "files")}
    segments = [{"name": name, "size": size} for name, size in SIZES]
    (folder / "model.json").write_text(json.dumps({"model_version": "bench-1", "segments": segments, **empty}))


def publish_catalogue(settings: Settings, layout: Layout, count: int, *, themes: int = 300) -> np.ndarray[Any, Any]:
    """Ready representations with random vectors around `themes` themes; returns them as float32 (count, dimension)."""
    random = np.random.default_rng(7)
    centres = random.standard_normal((themes, layout.dimension)).astype(np.float32)
    store = bootstrap.profile_store(settings)
    producer = Producer(settings.kafka_url, linger_ms=20)
    ids = [f"bench-{i}" for i in range(count)]
    numbers: dict[str, int] = {}
    for start in range(0, count, 5_000):
        numbers |= store.product_numbers(ids[start : start + 5_000])
    vectors = np.empty((count, layout.dimension), np.float32)
    for i, product_id in enumerate(ids):
        noise = random.standard_normal(layout.dimension).astype(np.float32)
        raw = centres[i % themes] + 0.7 * noise
        vectors[i] = layout.assemble({segment.name: raw[layout.slices[segment.name]] for segment in layout.segments})
        message = stream_pb2.Representation(
            product_id=product_id,
            product_number=numbers[product_id],
            model_version=layout.model_version,
            vector=pack(vectors[i]),
            title=f"Product {i}",
            brand=f"brand {i % 200}",
            categories=[f"category {i % 50}"],
            price=5.0 + i % 97,
            available=True,
        )
        producer.publish(settings.topics.representations, product_id, message.SerializeToString(), HEADERS)
    producer.flush()
    producer.close()
    store.close()
    return vectors


class Background:
    """Clicks of many users at a steady rate, in a thread."""

    def __init__(self, settings: Settings, rate: float) -> None:
        self._settings, self._rate = settings, rate
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Background:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        producer = Producer(self._settings.kafka_url)
        random = np.random.default_rng(3)
        due = time.perf_counter()
        while not self._stopping.is_set():
            user, product = int(random.integers(USERS)), int(random.integers(PRODUCTS))
            event = _interaction(f"user-{user}", f"bench-{product}", interaction_pb2.Interaction.CLICK)
            producer.publish(self._settings.topics.interactions, event.user_id, event.SerializeToString(), HEADERS)
            due += 1.0 / self._rate
            time.sleep(max(due - time.perf_counter(), 0.0))
        producer.close()


def _interaction(user: str, product: str, kind: Any) -> interaction_pb2.Interaction:
    return interaction_pb2.Interaction(
        event_id=f"{user}-{product}-{time.time_ns()}", user_id=user, product_id=product, kind=kind
    )


async def measure(settings: Settings, seconds: float, rate: float, whole: bool) -> dict[str, list[float]]:
    """Milliseconds per kind of event, one value a sample."""
    producer = Producer(settings.kafka_url)
    address = f"{settings.recommend.host}:{settings.recommend.port}"
    async with grpc.aio.insecure_channel(address) as channel:
        ask = rpc.RecommendationServiceStub(channel)
        sampler = Sampler(settings, producer, ask)
        await ask.Recommend(pb.RecommendRequest(user_id="warm", dry_run=True), wait_for_ready=True, timeout=60.0)
        results: dict[str, list[float]] = {"click": [], "click_applied": [], "hide": [], "new_product": []}
        # The worker may still be joining its group: the first click has all the time it needs.
        await sampler.click(wait_seconds=30)
        garbage.settle()
        with Background(settings, rate):
            await sampler.repeat(2.0, sampler.click, [], [])
            await sampler.repeat(seconds, sampler.click, results["click"], results["click_applied"])
            await sampler.repeat(seconds, sampler.hide, results["hide"], [])
            if whole:
                await sampler.repeat(2.0, sampler.new_product, [], [])
                await sampler.repeat(seconds, sampler.new_product, results["new_product"], [])
    producer.close()
    return results


class Sampler:
    """One event at a time, followed by the question whether it counts."""

    def __init__(self, settings: Settings, producer: Producer, ask: Any) -> None:
        self._settings, self._producer, self._ask = settings, producer, ask
        self._random = np.random.default_rng(11)
        self._made = 0

    async def repeat(
        self,
        seconds: float,
        sample: Callable[[], Awaitable[tuple[float, float]]],
        whole_ms: list[float],
        applied_ms: list[float],
    ) -> None:
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            whole, applied = await sample()
            whole_ms.append(whole)
            applied_ms.append(applied)

    async def click(self, wait_seconds: int = 5) -> tuple[float, float]:
        """A shopper's click; the answer must leave the product out and be based on it."""
        user, product = f"user-{self._random.integers(USERS)}", f"bench-{self._random.integers(PRODUCTS)}"
        return await self._interact(user, product, interaction_pb2.Interaction.CLICK, wait_seconds)

    async def hide(self) -> tuple[float, float]:
        """A shopper hides the first product of their list; the answer must not hold it."""
        user = f"user-{self._random.integers(USERS)}"
        shown = await self._ask.Recommend(pb.RecommendRequest(user_id=user, dry_run=True), timeout=5.0)
        return await self._interact(user, shown.products[0].product_id, interaction_pb2.Interaction.HIDE)

    async def _interact(self, user: str, product: str, kind: Any, wait_seconds: int = 5) -> tuple[float, float]:
        event = _interaction(user, product, kind)
        value = event.SerializeToString()
        begun = time.perf_counter()
        future = self._producer.publish(self._settings.topics.interactions, user, value, HEADERS)
        position = await asyncio.wrap_future(future)
        confirmed = time.perf_counter()
        answer = await self._recommend(user, position, wait_seconds=wait_seconds)
        ended = time.perf_counter()
        assert answer.freshness.at_least_reached
        assert all(shown.product_id != product for shown in answer.products)
        applied = confirmed - begun + answer.freshness.waited.nanos / 1e9
        return (ended - begun) * 1e3, applied * 1e3

    async def new_product(self) -> tuple[float, float]:
        """A product nobody has seen; the answer for a new category must hold it."""
        self._made += 1
        name = f"new-{time.time_ns()}"
        event = product_pb2.ProductEvent(
            event_id=name,
            upsert=product_pb2.Product(
                product_id=name, title=f"Linen summer dress {self._made}", categories=[name], price=29.0
            ),
        )
        begun = time.perf_counter()
        future = self._producer.publish(self._settings.topics.products, name, event.SerializeToString(), HEADERS)
        position = await asyncio.wrap_future(future)
        answer = await self._recommend("user-1", position, pb.Filter(categories=[name]))
        ended = time.perf_counter()
        assert [shown.product_id for shown in answer.products] == [name]
        return (ended - begun) * 1e3, 0.0

    async def _recommend(
        self, user: str, position: Position, wanted: pb.Filter | None = None, wait_seconds: int = 5
    ) -> Any:
        request = pb.RecommendRequest(
            user_id=user,
            at_least=[write_token([position])],
            at_least_wait={"seconds": wait_seconds},
            dry_run=True,
            filter=wanted,
        )
        return await self._ask.Recommend(request, timeout=wait_seconds + 5.0)


def _quantiles(times: list[float]) -> dict[str, Any]:
    p50, p90, p99 = np.percentile(times, [50, 90, 99]).tolist()
    return {"samples": len(times), "p50": p50, "p90": p90, "p99": p99}


def segments() -> Layout:
    """The layout that `write_manifest` describes."""
    return Layout("bench-1", tuple(Segment(Modality(name), size) for name, size in SIZES))


if __name__ == "__main__":
    main()
