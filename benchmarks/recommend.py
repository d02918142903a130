"""Recommend's latency and throughput, against the floor of what it cannot do without in the same run.

    python -m benchmarks.recommend [--products 105542] [--seconds 10] [--json]

The index is asked once Milvus has built its graph over what was loaded. In the last row one caller asks again, when
what lies near many of the shoppers' products is remembered. The floor is the sum of three medians: a gRPC call that
does nothing (grpc.health.v1 on the same server), the same Milvus search, and the same profile read.

Vectors are random around themes, published ready-made and upserted directly:
the size is that of hm_full_tables, its content plays no part. Milvus, Kafka and the service are real processes.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import uvloop
from grpc_health.v1 import health_pb2, health_pb2_grpc
from pymilvus import AsyncMilvusClient

from benchmarks.freshness import publish_catalogue, segments, write_manifest
from benchmarks.report import report
from freshet import bootstrap
from freshet.adapters.kafka import ensure_topics
from freshet.adapters.milvus import SEALED_LEAST_ROWS
from freshet.domain import profiles
from freshet.domain.interactions import Kind
from freshet.domain.progress import Advance
from freshet.local.kafka import temporary_broker
from freshet.local.milvus import temporary_milvus
from freshet.ports import ProfileRow
from freshet.recommend.candidates import per_query
from freshet.settings import Settings
from freshet.v1 import recommendation_service_pb2 as pb
from freshet.v1 import recommendation_service_pb2_grpc as rpc

USERS = 1_000
TOUCHES = 24
CALLERS = (1, 8, 32, 1)
GRAPH_SECONDS = 300.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--products", type=int, default=105_542, help="of the catalogue asked through the index")
    parser.add_argument("--exact-products", type=int, default=3_000, help="of the catalogue scanned exactly")
    parser.add_argument("--seconds", type=float, default=10.0, help="per row")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = []
    summary: dict[str, Any] = {}
    for retrieval, products in (("exact", arguments.exact_products), ("index", arguments.products)):
        with (
            tempfile.TemporaryDirectory(prefix="freshet-recommend-") as folder,
            temporary_broker() as kafka,
            temporary_milvus() if retrieval == "index" else nullcontext("memory://") as index,
        ):
            settings = _settings(Path(folder), kafka, index, retrieval)
            floor, measured = uvloop.run(_whole(settings, products, arguments.seconds))
        rows += [{"retrieval": retrieval, "products": products, **row} for row in measured]
        if retrieval == "index":
            p50 = measured[0]["p50_ms"]
            summary |= {"p50_ms": p50, "floor_ms": sum(floor.values()), "floor": floor}
            summary["p50_ratio_to_floor"] = p50 / sum(floor.values())
            summary["remembered_p50_ms"] = measured[-1]["p50_ms"]
            for row in measured[:-1]:
                summary[f"answers_per_second_{row['callers']}"] = row["answers_per_second"]
                summary[f"p99_ms_{row['callers']}"] = row["p99_ms"]
        else:
            summary["exact_p50_ms"] = measured[0]["p50_ms"]
    report("recommend", rows, summary, arguments.json)


def _settings(folder: Path, kafka: str, index: str, retrieval: str) -> Settings:
    write_manifest(folder / "model")
    settings = Settings(
        kafka_url=kafka,
        index_url=index,
        database_url=f"sqlite:///{folder}/freshet.db",
        model_dir=folder / "model",
        recommend={"port": 0, "retrieval": retrieval},  # type: ignore[arg-type]
    )
    bootstrap.migrate(settings)
    ensure_topics(kafka, settings.topics)
    return settings


async def _whole(settings: Settings, products: int, seconds: float) -> tuple[dict[str, float], list[dict[str, Any]]]:
    layout = segments()
    vectors = publish_catalogue(settings, layout, products)
    store = bootstrap.profile_store(settings)
    _write_profiles(settings, store, products)
    index = bootstrap.vector_index(settings, layout)
    await index.ensure()
    if settings.recommend.retrieval == "index":
        numbers = np.arange(1, products + 1, dtype=np.int64)
        for start in range(0, products, 2_000):
            await index.upsert(numbers[start : start + 2_000], vectors[start : start + 2_000])
        await _until_built(settings, index.collection, products)
        ends = await asyncio.to_thread(_ends, settings)
        steps = [Advance(settings.topics.representations, p, 0, end, 0) for p, end in ends.items() if end]
        store.apply("index", [], [], steps)
    with serving(settings) as address:
        async with grpc.aio.insecure_channel(address) as channel:
            await _until_serving(channel)
            floor = await _floor(settings, channel, index, vectors, seconds)
            rows = [await _load(address, callers, seconds) for callers in CALLERS]
    await index.close()
    return floor, rows


async def _until_built(settings: Settings, collection: str, products: int) -> None:
    client = AsyncMilvusClient(settings.index_url.replace("milvus://", "http://"))
    async with asyncio.timeout(GRAPH_SECONDS):
        while await _indexed(client, collection) < products - SEALED_LEAST_ROWS:  # noqa: ASYNC110 - nothing announces it
            await asyncio.sleep(0.5)
    await client.close()


async def _indexed(client: AsyncMilvusClient, collection: str) -> int:
    return int((await client.describe_index(collection, "vector"))["indexed_rows"])


def _write_profiles(settings: Settings, store: Any, products: int) -> None:
    """Each shopper has touched products of about six themes."""
    random = np.random.default_rng(5)
    now_us = time.time_ns() // 1_000
    rows = []
    for user in range(USERS):
        themes = random.integers(0, 300, 6)
        numbers = 1 + (themes[random.integers(0, 6, TOUCHES)] + 300 * random.integers(0, products // 300, TOUCHES))
        profile = profiles.Profile(event_time_us=now_us)
        for i, number in enumerate(numbers.tolist()):
            profile.touches[number] = profiles.Touch(1.0, now_us - (TOUCHES - i) * 3_600_000_000, int(Kind.CLICK))
            profile.seen.add(number)
        rows.append(ProfileRow(f"user-{user}", profiles.encode(profile), now_us))
    store.apply("profiles", rows, [], [Advance(settings.topics.interactions, 0, 0, USERS * TOUCHES, now_us)])


def _ends(settings: Settings) -> dict[int, int]:
    from freshet.adapters.kafka import Reader

    reader = Reader(settings.kafka_url, settings.topics.representations, lambda records: None)
    reader.start()
    reader.stop()
    return reader.end


@contextmanager
def serving(settings: Settings) -> Iterator[str]:
    """The service in a process of its own, with one BLAS thread; gives its address."""
    environment = os.environ | {
        f"FRESHET_{name.upper()}": str(getattr(settings, name))
        for name in ("kafka_url", "database_url", "index_url", "model_dir")
    }
    environment |= {
        "FRESHET_RECOMMEND": settings.recommend.model_dump_json(),
        "FRESHET_LOG_LEVEL": "warning",
        "OPENBLAS_NUM_THREADS": "1",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "freshet.recommend.process", "0", "1"],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield process.stdout.readline().split()[-1]
    finally:
        process.terminate()
        process.wait(20)
        process.stdout.close()


async def _until_serving(channel: grpc.aio.Channel) -> None:
    asked = health_pb2.HealthCheckRequest(service="freshet.v1.RecommendationService")
    async for answer in health_pb2_grpc.HealthStub(channel).Watch(asked, timeout=120.0):
        if answer.status == health_pb2.HealthCheckResponse.SERVING:
            # What was not settled when the process began is settled within the grace of the pulse.
            await asyncio.sleep(5.0)
            return


async def _floor(
    settings: Settings, channel: grpc.aio.Channel, index: Any, vectors: Any, seconds: float
) -> dict[str, float]:
    """Median milliseconds of each thing an answer cannot do without."""
    health = health_pb2_grpc.HealthStub(channel)
    empty = health_pb2.HealthCheckRequest()
    random = np.random.default_rng(1)
    queries = 9
    limit = per_query(queries, settings.recommend.candidates_per_source, 10)

    async def echo() -> None:
        await health.Check(empty)

    async def search() -> None:
        await index.search(vectors[random.integers(0, len(vectors), queries)], limit, 5.0)

    floor = {"grpc_echo_ms": await _median(echo, seconds / 3)}
    if settings.recommend.retrieval == "index":
        floor["milvus_search_ms"] = await _median(search, seconds / 3)
    store = bootstrap.serving_store(settings)

    async def profile() -> None:
        store.profile(f"user-{random.integers(USERS)}")

    floor["profile_read_ms"] = await _median(profile, seconds / 10)
    store.close()
    return floor


async def _median(call: Callable[[], Awaitable[None]], seconds: float) -> float:
    times: list[float] = []
    for _ in range(20):
        await call()
    until = time.perf_counter() + seconds
    while (begun := time.perf_counter()) < until:
        await call()
        times.append((time.perf_counter() - begun) * 1e3)
    return float(np.median(times))


async def _load(address: str, callers: int, seconds: float) -> dict[str, Any]:
    """So many callers, each asking again as soon as it is answered."""
    times: list[float] = []
    degraded = 0
    async with grpc.aio.insecure_channel(address) as channel:
        ask = rpc.RecommendationServiceStub(channel)
        until = time.perf_counter() + seconds

        async def caller(number: int) -> None:
            nonlocal degraded
            random = np.random.default_rng(number)
            while (begun := time.perf_counter()) < until:
                request = pb.RecommendRequest(user_id=f"user-{random.integers(USERS)}")
                answer = await ask.Recommend(request, timeout=10.0)
                times.append((time.perf_counter() - begun) * 1e3)
                assert len(answer.products) == 10
                degraded += answer.freshness.degraded

        await asyncio.gather(*(caller(number) for number in range(callers)))
    p50, p99 = np.percentile(times, [50, 99]).tolist()
    return {
        "callers": callers,
        "answers_per_second": len(times) / seconds,
        "p50_ms": p50,
        "p99_ms": p99,
        "degraded_share": degraded / len(times),
    }


if __name__ == "__main__":
    main()
