"""What the stores must hold, worked out from the log alone by the domain's own rules, and what they do hold."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pymilvus import MilvusClient, MilvusException

from freshet import bootstrap
from freshet.adapters.kafka import Reader, ReadRecord
from freshet.adapters.milvus import ALIAS
from freshet.codec import events, wire
from freshet.domain import covisits, products, profiles
from freshet.domain.products import ProductState, Version
from freshet.domain.representations import Vector
from freshet.domain.reviews import Stars
from freshet.errors import DependencyDown
from freshet.settings import Settings
from freshet.stream.batches import Record, Run
from freshet.stream.lag import worker_status
from freshet.stream.profiles import ProfileWorker
from freshet.stream.worker import Batch
from freshet.v1.product_pb2 import ProductEvent, Review

WORKERS = ("catalog", "index", "profiles")


@dataclass(frozen=True)
class LogRecord:
    """A record as a worker's handler takes one."""

    offset: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]
    timestamp: int


def wait_applied(settings: Settings, seconds: float = 120.0) -> None:
    """Until every worker has applied everything. Kafka or the database may be away meanwhile."""
    deadline = time.monotonic() + seconds
    with closing(bootstrap.profile_store(settings)) as store:
        # In the order of the line: what the catalogue worker publishes is the index worker's to do.
        for worker in WORKERS:
            while True:
                try:
                    left = sum(row.lag_records for row in worker_status(settings, worker, store))
                except DependencyDown as error:
                    left = str(error)
                if left == 0:
                    break
                assert time.monotonic() < deadline, f"{worker} still has {left} to do"
                time.sleep(0.1)


def read_log(settings: Settings, topic: str) -> dict[int, list[LogRecord]]:
    """Every record of a topic, by partition, in order."""
    found: dict[int, list[LogRecord]] = {}
    complete = threading.Event()

    def deliver(records: Sequence[ReadRecord]) -> None:
        for record in records:
            position = record.position
            found.setdefault(position.partition, []).append(
                LogRecord(position.offset, record.key, record.value, record.headers, record.timestamp_ms)
            )
        if all(found.get(partition, [])[-1:] and found[partition][-1].offset >= end - 1 for partition, end in ends()):
            complete.set()

    def ends() -> list[tuple[int, int]]:
        return [(partition, end) for partition, end in reader.end.items() if end]

    reader = Reader(settings.kafka_url, topic, deliver)
    reader.start()
    try:
        assert not ends() or complete.wait(60.0), f"{topic} could not be read to its end"
    finally:
        reader.stop()
    return found


@dataclass(frozen=True)
class Catalogue:
    """Products by id, and of each product its reviews' stars and how many had words."""

    states: Mapping[str, ProductState]
    stars: Mapping[str, Stars]
    texts: Mapping[str, int]


def catalogue_of_log(settings: Settings) -> Catalogue:
    states: dict[str, ProductState] = {}
    for listed in read_log(settings, settings.topics.products).values():
        for record in listed:
            message = wire.decode(record.value, record.headers, ProductEvent)
            change = events.read_product_event(message)
            product_id = events.product_id_of(change)
            before = states.get(product_id, ProductState(product_id))
            states[product_id] = products.merge(before, change, Version(record.timestamp * 1_000, record.offset))
    newest: dict[str, tuple[Version, Review]] = {}
    for listed in read_log(settings, settings.topics.reviews).values():
        for record in listed:
            review = wire.decode(record.value, record.headers, Review)
            version = Version(record.timestamp * 1_000, record.offset)
            known = newest.get(review.review_id)
            if known is None or version > known[0]:
                newest[review.review_id] = (version, review)
    stars: dict[str, list[int]] = {}
    texts: dict[str, int] = {}
    for _, review in newest.values():
        stars.setdefault(review.product_id, [0, 0, 0, 0, 0])[round(review.rating) - 1] += 1
        texts[review.product_id] = texts.get(review.product_id, 0) + bool(review.text)
    return Catalogue(states, {id_: (a, b, c, d, e) for id_, (a, b, c, d, e) in stars.items()}, texts)


def catalogue_of_store(settings: Settings) -> tuple[Catalogue, dict[int, Vector]]:
    """What SQL holds; and by product number the vector of every product that is live."""
    manifest = bootstrap.model_manifest(settings)
    with closing(bootstrap.catalog_store(settings, manifest.model_version)) as store:
        rows = store.load(store.product_ids("", 10_000))
    states = {id_: row.state for id_, row in rows.items() if row.state.fields or row.state.removed}
    stars = {id_: row.reviews.stars for id_, row in rows.items() if row.reviews.count}
    texts = {id_: row.reviews.text_count for id_, row in rows.items() if row.reviews.count}
    vectors = {}
    for row in rows.values():
        if products.live(row.state):
            assert row.encoding is not None, f"{row.product_id} is live and was not encoded"
            vectors[row.number] = row.encoding.vector
    return Catalogue(states, stars, texts), vectors


def index_rows(settings: Settings, seconds: float = 120.0) -> dict[int, Vector]:
    """What Milvus holds, each number once. After a kill its collection is loaded again only after a while."""
    deadline = time.monotonic() + seconds
    with closing(MilvusClient(settings.index_url.replace("milvus://", "http://"))) as client:
        while True:
            try:
                rows = client.query(
                    ALIAS,
                    filter="number >= 0",
                    output_fields=["number", "vector"],
                    limit=16_000,
                    consistency_level="Strong",
                )
                break
            except MilvusException:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.5)
    numbers = [row["number"] for row in rows]
    assert len(numbers) == len(set(numbers)), "a product has two rows"
    return {row["number"]: np.array(row["vector"], np.float32) for row in rows}


@dataclass(frozen=True)
class Behaviour:
    """Names instead of numbers, which are given in order of arrival."""

    weights: Mapping[str, Mapping[str, float]]
    seen: Mapping[str, frozenset[str]]
    users: Mapping[str, float]
    trends: Mapping[str, float]
    pairs: Mapping[tuple[str, str], float]


def behaviour_of_log(settings: Settings, folder: Path) -> Behaviour:
    """The log, applied by one worker to a database of its own without any fault."""
    again = settings.model_copy(update={"database_url": f"sqlite:///{folder}/again.db"})
    bootstrap.migrate(again)
    logged = read_log(settings, settings.topics.interactions)
    with closing(bootstrap.profile_store(again)) as store:
        worker = ProfileWorker(store, _NoDeadLetters(), again)  # type: ignore[arg-type]
        for partition, listed in logged.items():
            run = Run(settings.topics.interactions, partition, _as_records(listed))
            asyncio.run(worker.apply(Batch([run], [], {})))
    return behaviour_of_store(again)


def behaviour_of_store(settings: Settings) -> Behaviour:
    ids = [f"p{i}" for i in range(200)]
    users = [f"u{i}" for i in range(100)]
    with closing(bootstrap.profile_store(settings)) as store:
        names = {number: id_ for id_, number in store.product_numbers(ids).items()}
        kept = {user: profiles.decode(data) for user, data in store.load_profiles(users).items()}
        rows = {names[number]: covisits.decode(data) for number, data in store.load_behaviour(list(names)).items()}
    return Behaviour(
        {user: {names[n]: touch.weight for n, touch in kept[user].touches.items()} for user in kept},
        {user: frozenset(names[number] for number in kept[user].seen) for user in kept},
        {id_: row.users for id_, row in rows.items()},
        {id_: row.trend for id_, row in rows.items()},
        {(id_, names[n]): count for id_, row in rows.items() for n, count in row.neighbours.items()},
    )


class _NoDeadLetters:
    async def send(self, *arguments: object) -> None:
        raise AssertionError(f"nothing in this log is bad: {arguments}")


def _as_records(listed: Sequence[LogRecord]) -> Sequence[Record]:
    records: Any = listed
    return records
