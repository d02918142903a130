"""What the stores must hold, worked out from the log alone by the domain's own rules, and what they do hold."""

from __future__ import annotations

import asyncio
import threading
import time
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from confluent_kafka import Consumer, KafkaException, TopicPartition
from google.protobuf.message import Message
from pymilvus import MilvusClient, MilvusException

from freshet import bootstrap
from freshet.adapters.kafka import Reader, ReadRecord
from freshet.adapters.milvus import ALIAS
from freshet.codec import events, wire
from freshet.domain import covisits, products, profiles
from freshet.domain.interactions import Interaction
from freshet.domain.products import Change, ProductState, Version
from freshet.domain.progress import Position
from freshet.domain.representations import Vector
from freshet.domain.reviews import Review, Stars
from freshet.errors import DependencyDown, InvalidInput, TooLarge
from freshet.settings import Settings
from freshet.stream.batches import Record, Run
from freshet.stream.dead_letters import read_letters
from freshet.stream.lag import PartitionLag, worker_status
from freshet.stream.profiles import ProfileWorker
from freshet.stream.worker import Batch
from freshet.v1 import interaction_pb2, product_pb2

M = TypeVar("M", bound=Message)
E = TypeVar("E")
WORKERS = ("catalog", "index", "profiles")


@dataclass(frozen=True)
class LogRecord:
    """A record as a worker's handler takes one."""

    offset: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]
    timestamp: int


def wait_applied(settings: Settings, *, acknowledged: bool = False, seconds: float = 120.0) -> None:
    """Until every worker has applied everything. Kafka or the database may be away meanwhile.

    `acknowledged`: and has said so to Kafka. What a worker had stored when it was killed counts as applied, although
    it may have to be published yet.
    """
    deadline = time.monotonic() + seconds
    with closing(bootstrap.profile_store(settings)) as store:
        # In the order of the line: what the catalogue worker publishes is the index worker's to do.
        for worker in WORKERS:
            while True:
                try:
                    rows = worker_status(settings, worker, store)
                    left: int | str = sum(row.lag_records for row in rows)
                    if left == 0 and acknowledged:
                        left = _unacknowledged(settings, worker, rows)
                except (DependencyDown, KafkaException) as error:
                    left = str(error)
                if left == 0:
                    break
                assert time.monotonic() < deadline, f"{worker} still has {left} to do"
                time.sleep(0.1)


def _unacknowledged(settings: Settings, worker: str, rows: Sequence[PartitionLag]) -> int:
    """How many records the worker's group has not committed."""
    ends = {(row.topic, row.partition): row.end_offset for row in rows if row.end_offset}
    servers = settings.kafka_url.removeprefix("kafka://")
    with closing(Consumer({"bootstrap.servers": servers, "group.id": f"freshet-{worker}", "log_level": 0})) as group:
        committed = group.committed([TopicPartition(*place) for place in ends], timeout=60.0)
    return sum(ends[at.topic, at.partition] - max(at.offset, 0) for at in committed)


def read_topic(settings: Settings, topic: str) -> dict[int, list[LogRecord]]:
    """Every record of a topic, by partition; a record's offset is its place in the list, since nothing is compacted."""
    found: dict[int, list[LogRecord]] = {}
    complete = threading.Event()

    def deliver(records: Sequence[ReadRecord]) -> None:
        for record in records:
            position = record.position
            found.setdefault(position.partition, []).append(
                LogRecord(position.offset, record.key, record.value, record.headers, record.timestamp_ms)
            )
        if all(len(found.get(partition, [])) >= end for partition, end in reader.end.items()):
            complete.set()

    reader = Reader(settings.kafka_url, topic, deliver)
    reader.start()
    try:
        assert not any(reader.end.values()) or complete.wait(60.0), f"{topic} could not be read to its end"
    finally:
        reader.stop()
    assert all([r.offset for r in listed] == list(range(len(listed))) for listed in found.values())
    return found


class Log:
    """All products, reviews and interactions that were ever published, read again from the first record."""

    def __init__(self, settings: Settings) -> None:
        self._settings, self._now_us = settings, time.time_ns() // 1_000
        names = settings.topics
        self.topics = {topic: read_topic(settings, topic) for topic in (names.products, names.reviews)}
        self.topics[names.interactions] = read_topic(settings, names.interactions)

    def __len__(self) -> int:
        return sum(len(listed) for partitions in self.topics.values() for listed in partitions.values())

    def value(self, place: Position) -> bytes | None:
        return self.topics[place.topic][place.partition][place.offset].value

    def readable(
        self, topic: str, message: type[M], read: Callable[[M, LogRecord, int], E]
    ) -> tuple[list[E], set[Position]]:
        """What `read` makes of a topic's records, and the places of those that break a rule of the contract."""
        accepted, refused = [], set()
        for partition, listed in self.topics[topic].items():
            for record in listed:
                try:
                    if len(record.value or b"") > self._settings.stream.record_bytes:
                        raise TooLarge("", "more than workers accept")
                    accepted.append(read(wire.decode(record.value, record.headers, message), record, self._now_us))
                except InvalidInput:
                    refused.add(Position(topic, partition, record.offset))
        return accepted, refused

    def changes(self) -> tuple[list[tuple[Change, Version]], set[Position]]:
        def read(message: product_pb2.ProductEvent, record: LogRecord, now_us: int) -> tuple[Change, Version]:
            time_us = events.event_time_us(message, record.timestamp * 1_000, now_us)
            return events.read_product_event(message), Version(time_us, record.offset)

        return self.readable(self._settings.topics.products, product_pb2.ProductEvent, read)

    def reviews(self) -> tuple[list[Review], set[Position]]:
        def read(message: product_pb2.Review, record: LogRecord, now_us: int) -> Review:
            time_us = events.event_time_us(message, record.timestamp * 1_000, now_us)
            return events.read_review(message, time_us, record.offset)

        return self.readable(self._settings.topics.reviews, product_pb2.Review, read)

    def interactions(self) -> tuple[list[Interaction], set[Position]]:
        def read(message: interaction_pb2.Interaction, record: LogRecord, now_us: int) -> Interaction:
            return events.read_interaction(message, record.timestamp * 1_000, now_us)

        return self.readable(self._settings.topics.interactions, interaction_pb2.Interaction, read)

    def refused(self) -> set[Position]:
        """Places of all records that must have a dead letter, pictures left aside."""
        return self.changes()[1] | self.reviews()[1] | self.interactions()[1]


def refused_by_workers(settings: Settings) -> set[Position]:
    """Places of the records that do have one."""
    letters = read_letters(settings.kafka_url, settings.topics.dead_letters)
    sources = [letter.message.source for letter in letters if letter.reason != "IMAGE"]
    return {Position(source.topic, source.partition, source.offset) for source in sources}


@dataclass(frozen=True)
class Catalogue:
    """Products by id, and of each product its reviews' stars and how many had words."""

    states: Mapping[str, ProductState]
    stars: Mapping[str, Stars]
    texts: Mapping[str, int]


def catalogue_of_log(log: Log) -> Catalogue:
    states: dict[str, ProductState] = {}
    for change, version in log.changes()[0]:
        product_id = events.product_id_of(change)
        states[product_id] = products.merge(states.get(product_id, ProductState(product_id)), change, version)
    newest: dict[str, Review] = {}
    for review in log.reviews()[0]:
        if review.review_id not in newest or review.version > newest[review.review_id].version:
            newest[review.review_id] = review
    stars: dict[str, list[int]] = {}
    texts: dict[str, int] = {}
    for review in newest.values():
        assert review.rating is not None, "these tests publish no review without stars"
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


def behaviours(settings: Settings, log: Log) -> tuple[Behaviour, Behaviour]:
    """What the store holds of everybody who is in the log, and what it must hold."""
    interactions, _ = log.interactions()
    users = sorted({interaction.user_id for interaction in interactions})
    ids = sorted({interaction.product_id for interaction in interactions})
    again = settings.model_copy(update={"database_url": f"memory://{uuid.uuid4().hex}"})
    with closing(bootstrap.profile_store(again)) as store:
        worker = ProfileWorker(store, _NoLetters(), again)  # type: ignore[arg-type]
        topic = settings.topics.interactions
        for partition, listed in log.topics[topic].items():
            asyncio.run(worker.apply(Batch([Run(topic, partition, _as_records(listed))], [], {})))
    return _behaviour_of_store(settings, users, ids), _behaviour_of_store(again, users, ids)


def _behaviour_of_store(settings: Settings, users: Sequence[str], ids: Collection[str]) -> Behaviour:
    with closing(bootstrap.profile_store(settings)) as store:
        names = {number: id_ for id_, number in store.product_numbers(sorted(ids)).items()}
        kept = {user: profiles.decode(data) for user, data in store.load_profiles(users).items()}
        rows = {names[number]: covisits.decode(data) for number, data in store.load_behaviour(list(names)).items()}
    return Behaviour(
        {user: {names[n]: touch.weight for n, touch in kept[user].touches.items()} for user in kept},
        {user: frozenset(names[number] for number in kept[user].seen) for user in kept},
        {id_: row.users for id_, row in rows.items()},
        {id_: row.trend for id_, row in rows.items()},
        {(id_, names[n]): count for id_, row in rows.items() for n, count in row.neighbours.items()},
    )


class _NoLetters:
    """The replay's refusals need no letters of their own: `refused_by_workers` looks at those of the first time."""

    async def send(self, *_: object) -> None: ...


def _as_records(listed: Sequence[LogRecord]) -> Sequence[Record]:
    records: Any = listed
    return records
