"""Records per second of CPU: Freshet's workers against stock Faust agents that do the same work.

    python -m benchmarks.stream [--records 100000] [--json]

`agent_ratio`: records that only reach an agent. `profile_ratio`: the whole profile path (decode, check, update, write)
against `stream.take(500)` that decodes, updates and writes in one transaction per 500. Each side is a process of its
own over the same topic; CPU is user + system of all its threads, from the assignment of partitions (the stock side:
from its first record) to the last record. Needs a broker: FRESHET_KAFKA_URL, or one is started for the run.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from benchmarks.report import report
from freshet import bootstrap
from freshet.adapters.kafka import Producer, bootstrap_servers, ensure_topics
from freshet.domain.progress import Progress
from freshet.settings import Settings, Topics
from freshet.stream.worker import Batch, Worker
from freshet.v1.interaction_pb2 import Interaction

USERS, PRODUCTS = 5_000, 3_000


def cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


class Meter:
    """CPU and time from the first `begin` until `wanted` records are counted."""

    def __init__(self, wanted: int) -> None:
        self.wanted, self.counted, self.started = wanted, 0, 0.0
        self.parts: dict[str, float] = {}
        self.done = asyncio.Event()
        self.result: dict[str, Any] = {}

    def begin(self) -> None:
        if not self.started:
            self.cpu, self.started = cpu_seconds(), time.perf_counter()

    def count(self, records: int) -> None:
        self.counted += records
        if self.counted >= self.wanted and not self.result:
            cpu, wall = cpu_seconds() - self.cpu, time.perf_counter() - self.started
            self.result = {"records": self.counted, "cpu_seconds": cpu, "wall_seconds": wall, **self.parts}
            self.done.set()


class Counting:
    """A handler that only counts."""

    def __init__(self, topic: str, meter: Meter) -> None:
        self.name, self.topics, self.meter = f"bench-{uuid.uuid4().hex[:8]}", (topic,), meter

    def progress(self) -> Mapping[tuple[str, int], Progress]:
        self.meter.begin()
        return {}

    async def open(self) -> None: ...

    async def apply(self, batch: Batch) -> None:
        self.meter.count(sum(len(run.records) for run in batch.runs))

    async def close(self) -> None: ...


def our_profiles(settings: Settings, meter: Meter) -> Any:
    """The profile worker as it is, with a clock around its stages."""
    from freshet.stream.dead_letters import DeadLetters
    from freshet.stream.profiles import ProfileWorker

    def timed(part: str, function: Any) -> Any:
        def call(*arguments: Any) -> Any:
            before = time.thread_time()
            try:
                return function(*arguments)
            finally:
                meter.parts[part] = meter.parts.get(part, 0.0) + time.thread_time() - before

        return call

    store = bootstrap.profile_store(settings)
    for part in ("apply", "load_profiles", "load_behaviour", "product_numbers"):
        setattr(store, part, timed("sql", getattr(store, part)))

    class Metered(ProfileWorker):
        def progress(self) -> Mapping[tuple[str, int], Progress]:
            meter.begin()
            return super().progress()

        async def open(self) -> None: ...

        async def apply(self, batch: Batch) -> None:
            await super().apply(batch)
            meter.count(sum(len(run.records) for run in batch.runs))

    sink = DeadLetters(bootstrap.producer(settings), settings.topics.dead_letters)
    handler = Metered(store, sink, settings)
    handler._read = timed("decode", handler._read)  # type: ignore[method-assign]
    handler._write = timed("update_and_sql", handler._write)  # type: ignore[method-assign]
    return handler


async def run_ours(side: str, settings: Settings, records: int) -> dict[str, Any]:
    meter = Meter(records)
    topic = settings.topics.interactions
    worker = Worker(Counting(topic, meter) if side == "agent" else our_profiles(settings, meter), settings)
    running = asyncio.create_task(worker.run())
    await asyncio.wait([running, asyncio.create_task(meter.done.wait())], return_when=asyncio.FIRST_COMPLETED)
    worker.stop()
    await running
    return meter.result


async def run_stock(side: str, settings: Settings, records: int) -> dict[str, Any]:
    """Faust as its documentation has it, without its web server."""
    import faust

    meter = Meter(records)
    app = faust.App(
        f"bench-{uuid.uuid4().hex[:8]}",
        broker=f"kafka://{bootstrap_servers(settings.kafka_url)}",
        store="memory://",
        datadir=tempfile.mkdtemp(prefix="freshet-bench-"),
        autodiscover=False,
        web_enabled=False,
        topic_disable_leader=True,
        topic_allow_declare=False,
        broker_max_poll_records=4_000,
        consumer_auto_offset_reset="earliest",
    )
    topic = app.topic(
        settings.topics.interactions, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw"
    )

    async def count(stream: Any) -> None:
        async for _value in stream:
            meter.begin()
            meter.count(1)

    async def profile(stream: Any) -> None:
        apply = stock_profiles(settings)
        async for values in stream.take(500, within=0.1):
            meter.begin()
            await asyncio.to_thread(apply, values)
            meter.count(len(values))

    app.agent(topic)(count if side == "agent" else profile)
    await app.start()
    await meter.done.wait()
    await app.stop()
    return meter.result


def stock_profiles(settings: Settings) -> Any:
    """The same rules and tables: records are decoded one by one, rows are read and written once per take."""
    import xxhash

    from freshet.codec import wire
    from freshet.codec.events import read_interaction
    from freshet.domain import covisits, profiles
    from freshet.ports import BehaviourRow, ProfileRow
    from freshet.stream.profiles import covisit_rules, profile_rules

    store = bootstrap.profile_store(settings)
    of_profile, of_covisit = profile_rules(settings.profiles), covisit_rules(settings.profiles)

    def apply(values: Sequence[bytes]) -> None:
        now_us = time.time_ns() // 1_000
        headers = [("content-type", wire.PROTOBUF.encode())]
        events = [read_interaction(wire.decode(v, headers, Interaction), now_us, now_us) for v in values]
        numbers = store.product_numbers([event.product_id for event in events])
        users = list({event.user_id for event in events})
        stored = store.load_profiles(users)
        known = {user: profiles.decode(stored[user]) if user in stored else profiles.Profile() for user in users}
        visits = []
        for event in events:
            key = xxhash.xxh64_intdigest(event.event_id.encode())
            touch = (numbers[event.product_id], event.kind, event.value, event.event_time_us, key)
            visits += profiles.update(known[event.user_id], [touch], of_profile)
        changed = covisits.touched(visits)
        rows = store.load_behaviour(list(changed))
        behaviour = {n: covisits.decode(rows[n]) if n in rows else covisits.Behaviour() for n in changed}
        for visit in visits:
            covisits.record(behaviour, visit, of_covisit)
        store.apply(
            "profiles",
            [ProfileRow(user, profiles.encode(p), p.event_time_us) for user, p in known.items()],
            [BehaviourRow(n, b.trend, covisits.encode(b)) for n, b in behaviour.items()],
            [],
        )

    return apply


def publish(settings: Settings, records: int) -> None:
    """The same interactions in every run: users evenly, products by popularity."""
    chance = random.Random(7)
    now_us = time.time_ns() // 1_000
    producer = Producer(settings.kafka_url, linger_ms=20)
    headers = [("content-type", b"application/protobuf")]
    for i in range(records):
        product = min(int(chance.paretovariate(0.6)), PRODUCTS)
        user = f"user-{chance.randrange(USERS)}"
        message = Interaction(
            event_id=f"event-{i:08d}",
            user_id=user,
            product_id=f"product-{product}",
            kind=chance.choice((1, 1, 2, 3, 4)),
        )
        message.event_time.FromMicroseconds(now_us - records + i)
        producer.publish(settings.topics.interactions, user, message.SerializeToString(), headers)
    producer.flush()
    producer.close()


@contextmanager
def broker() -> Iterator[str]:
    if url := os.environ.get("FRESHET_KAFKA_URL"):
        yield url
        return
    from freshet.local.kafka import temporary_broker

    with temporary_broker() as url:
        yield url


def measure(child: str, settings: Settings, records: int, folder: str) -> dict[str, Any]:
    """One side in a process of its own, with a database of its own."""
    database = f"sqlite:///{folder}/{child}.db"
    environment = os.environ | {
        "FRESHET_KAFKA_URL": settings.kafka_url,
        "FRESHET_DATABASE_URL": database,
        "FRESHET_DATA_DIR": folder,
        "FRESHET_TOPICS__INTERACTIONS": settings.topics.interactions,
    }
    bootstrap.migrate(settings.model_copy(update={"database_url": database}))
    command = [sys.executable, "-m", "benchmarks.stream", "--child", child, "--records", str(records)]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True, timeout=540)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        import uvloop

        whose, side = options.child.split("-")
        run = run_ours if whose == "freshet" else run_stock
        print(json.dumps(uvloop.run(run(side, Settings(), options.records))), flush=True)
        return
    results = {}
    with broker() as url, tempfile.TemporaryDirectory(prefix="freshet-bench-") as folder:
        unique = f"bench-{uuid.uuid4().hex[:8]}"
        topics = Topics(**{name: f"{unique}.{name}" for name in Topics.model_fields if name not in _NUMBERS})
        settings = Settings(kafka_url=url, topics=topics)
        ensure_topics(url, topics)
        publish(settings, options.records)
        for child in ("freshet-agent", "faust-agent", "freshet-profiles", "faust-profiles"):
            results[child] = measure(child, settings, options.records, folder)
    summarise(results, options.json)


_NUMBERS = ("partitions", "replication")


def summarise(results: Mapping[str, Mapping[str, Any]], as_json: bool) -> None:
    rates = {child: result["records"] / result["cpu_seconds"] for child, result in results.items()}
    rows = [
        {
            "side": child,
            "records": result["records"],
            "CPU s": result["cpu_seconds"],
            "wall s": result["wall_seconds"],
            "records / CPU s": rates[child],
        }
        for child, result in results.items()
    ]
    ours = results["freshet-profiles"]
    total = ours["cpu_seconds"]
    decode, sql, both = ours["decode"], ours["sql"], ours["update_and_sql"]
    parts = {"decode": decode, "update": both - sql, "sql": sql, "rest": total - decode - both}
    summary: dict[str, Any] = {
        "agent_ratio": rates["freshet-agent"] / rates["faust-agent"],
        "profile_ratio": rates["freshet-profiles"] / rates["faust-profiles"],
        "profile_records_per_cpu_second": rates["freshet-profiles"],
        **{f"profile_share_{name}": seconds / total for name, seconds in parts.items()},
    }
    summary["bounded_by"] = max(parts, key=lambda name: parts[name])
    report("stream", rows, summary, as_json)


if __name__ == "__main__":
    main()
