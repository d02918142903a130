"""The profile worker's caches are never ahead of its store, and however batches are cut the result is the same."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from prometheus_client import REGISTRY
from records import NOW_US, Record

from freshet import bootstrap
from freshet.domain import covisits, profiles
from freshet.domain.progress import Progress
from freshet.errors import DependencyDown, ProgressConflict
from freshet.settings import Settings
from freshet.stream.batches import Run
from freshet.stream.lag import lag_of
from freshet.stream.profiles import ProfileWorker
from freshet.stream.worker import Batch
from freshet.v1.interaction_pb2 import Interaction

TOPIC = "freshet.interactions.v1"


@dataclass
class Letters:
    """Keeps what was sent, as the real sink does in Kafka."""

    sent: list[tuple[int, str, int]] = field(default_factory=list)

    async def send(self, reason: int, detail: str, record: Any, topic: str, partition: int, worker: str) -> None:
        self.sent.append((reason, detail, record.offset))


class Broken:
    """A store whose transaction fails so many times."""

    def __init__(self, store: Any, failures: int) -> None:
        self._store, self.failures = store, failures

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def apply(self, *arguments: Any) -> None:
        if self.failures:
            self.failures -= 1
            raise DependencyDown("sql", "the disk is full")
        self._store.apply(*arguments)


def make(failures: int = 0) -> tuple[ProfileWorker, Any, Letters]:
    settings = Settings(database_url=f"memory://{uuid.uuid4().hex}")
    store = bootstrap.profile_store(settings)
    letters = Letters()
    worker = ProfileWorker(Broken(store, failures), letters, settings, now_us=lambda: NOW_US)  # type: ignore[arg-type]
    return worker, store, letters


def records(count: int) -> list[Record]:
    return [
        Record(
            i,
            Interaction(
                event_id=f"e{i}", user_id=f"u{i % 7}", product_id=f"p{i * 31 % 23}", kind=i % 8 + 1, value=i % 5 + 1
            ).SerializeToString(),
        )
        for i in range(count)
    ]


async def apply(worker: ProfileWorker, listed: list[Record], at: int = 0) -> None:
    await worker.apply(Batch([Run(TOPIC, 0, listed)], [], {(TOPIC, 0): at}))


def stored(store: Any) -> tuple[Any, Any]:
    return store.load_profiles([f"u{i}" for i in range(7)]), store.load_behaviour(list(range(1, 24)))


async def test_however_the_log_is_cut_the_store_is_the_same() -> None:
    whole, store, _ = make()
    await apply(whole, records(300))
    cut, other, _ = make()
    for start in range(0, 300, 50):
        await apply(cut, records(300)[start : start + 50], at=start)
        cut._profiles.clear()
        cut._behaviour.clear()
    assert stored(store)[0] == stored(other)[0]
    assert stored(store)[1].keys() == stored(other)[1].keys()


async def test_a_cloud_event_that_comes_again_counts_once() -> None:
    """Its id is in a header alone."""
    worker, store, letters = make()
    value = Interaction(user_id="u1", product_id="p1", kind="CLICK").SerializeToString()
    typed = [("content-type", b"application/protobuf")]
    for offset, headers in enumerate([[*typed, ("ce_id", b"c1")], [("ce_id", b"c1")], [*typed, ("ce_id", b"c2")]]):
        await apply(worker, [Record(offset, value, headers=headers)], at=offset)
    (touch,) = profiles.decode(store.load_profiles(["u1"])["u1"]).touches.values()
    once, single, _ = make()
    for offset, name in enumerate(["c1", "c2"]):
        click = Interaction(event_id=name, user_id="u1", product_id="p1", kind="CLICK").SerializeToString()
        await apply(once, [Record(offset, click)], at=offset)
    (expected,) = profiles.decode(single.load_profiles(["u1"])["u1"]).touches.values()
    assert touch.weight == expected.weight
    assert not letters.sent


def split_by_user(listed: list[Record]) -> tuple[list[Record], list[Record]]:
    """What two partitions would hold, each with offsets of its own."""
    halves: tuple[list[Record], list[Record]] = ([], [])
    for record in listed:
        half = halves[Interaction.FromString(record.value or b"").user_id > "u3"]
        half.append(Record(len(half), record.value))
    return halves


async def test_two_workers_count_in_lanes_that_add_up_to_what_one_would_have_counted() -> None:
    alone, single, _ = make()
    await apply(alone, records(300))
    settings = Settings(database_url=f"memory://{uuid.uuid4().hex}")
    store = bootstrap.profile_store(settings)
    workers = [ProfileWorker(store, Letters(), settings, now_us=lambda: NOW_US) for _ in range(2)]  # type: ignore[arg-type]
    store.product_numbers([f"p{i * 31 % 23}" for i in range(23)])
    for start in range(0, 200, 40):
        for partition, half in enumerate(split_by_user(records(300))):
            if part := half[start : start + 40]:
                run = Run(TOPIC, partition, part)
                positions, mine = {(TOPIC, partition): start}, frozenset({(TOPIC, partition)})
                await workers[partition].apply(Batch([run], [], positions, mine))
    assert single.load_profiles(["u5"])["u5"] == store.load_profiles(["u5"])["u5"]
    both, one = bootstrap.serving_store(settings), single.load_behaviour(list(range(1, 24)))
    parts = both.behaviour(list(range(1, 24)))
    assert parts.keys() == one.keys()
    assert any(len(listed) == 2 for listed in parts.values())
    for number, data in one.items():
        summed, expected = covisits.strongest(parts[number], 100), covisits.strongest([data], 100)
        assert summed.users_level == pytest.approx(expected.users_level)
        order, other = np.argsort(summed.numbers), np.argsort(expected.numbers)
        assert summed.numbers[order].tolist() == expected.numbers[other].tolist()
        assert summed.levels[order] == pytest.approx(expected.levels[other])


async def test_a_worker_whose_lane_has_a_new_owner_cannot_write_over_its_counts() -> None:
    settings = Settings(database_url=f"memory://{uuid.uuid4().hex}")
    store = bootstrap.profile_store(settings)
    late, owner = (ProfileWorker(store, Letters(), settings, now_us=lambda: NOW_US) for _ in range(2))  # type: ignore[arg-type]
    both, mine = frozenset({(TOPIC, 0), (TOPIC, 1)}), frozenset({(TOPIC, 0)})
    listed = records(60)
    await late.apply(Batch([Run(TOPIC, 0, listed[:20])], [], {}, both))
    owner.progress()
    await owner.apply(Batch([Run(TOPIC, 0, listed[20:40])], [], {(TOPIC, 0): 20}, mine))
    before = stored(store)
    # Partition 1 itself is nobody else's yet: only the lane tells.
    with pytest.raises(ProgressConflict):
        await late.apply(Batch([Run(TOPIC, 1, [Record(0, listed[50].value)])], [], {}, both))
    assert stored(store) == before


async def test_a_failed_transaction_leaves_nothing_in_the_caches() -> None:
    worker, store, _ = make(failures=1)
    await apply_and_fail(worker)
    await apply(worker, records(60))
    untroubled, other, _ = make()
    await apply(untroubled, records(60))
    assert stored(store) == stored(other), "the batch that failed and came again is counted once"


async def apply_and_fail(worker: ProfileWorker) -> None:
    with pytest.raises(DependencyDown):
        await apply(worker, records(60))


async def test_a_dead_letter_is_written_once_though_the_batch_is_tried_again() -> None:
    worker, store, letters = make(failures=1)
    bad = [Record(0, b"\xff"), *records(3)[1:]]
    with pytest.raises(DependencyDown):
        await apply(worker, bad)
    await apply(worker, bad)
    assert [offset for _, _, offset in letters.sent] == [0]
    assert store.progress("profiles")[TOPIC, 0].next_offset == 3


async def test_an_event_from_the_far_future_is_refused_and_names_its_field() -> None:
    worker, _, letters = make()
    message = Interaction(user_id="u", product_id="p", kind=Interaction.VIEW)
    message.event_time.FromMicroseconds(NOW_US + 3_600_000_000)
    await apply(worker, [Record(0, message.SerializeToString())])
    assert letters.sent[0][1].startswith("event_time: is 3600 s in the future")


async def test_json_and_protobuf_count_alike() -> None:
    worker, store, letters = make()
    as_json = b'{"userId": "u0", "productId": "p", "kind": "CLICK", "eventTime": "2026-01-01T00:00:00Z"}'
    await apply(worker, [Record(0, as_json), Record(1, as_json, headers=[("Content-Type", b"application/json")])])
    assert letters.sent == []
    (touch,) = profiles.decode(store.load_profiles(["u0"])["u0"]).touches.values()
    assert touch.weight == 2.0


def test_lag_counts_what_is_in_kafka_and_not_applied() -> None:
    progress = {(TOPIC, 0): Progress(TOPIC, 0, 70, NOW_US)}
    rows = lag_of("profiles", progress, {(TOPIC, 0): (0, 100), (TOPIC, 1): (40, 50), (TOPIC, 2): (0, 0)})
    assert [row.lag_records for row in rows] == [30, 10, 0]


async def test_freshness_is_told_by_kind_from_the_oldest_record_of_a_batch() -> None:
    store = bootstrap.profile_store(Settings(database_url="memory://fresh"))
    letters: Any = Letters()
    worker = ProfileWorker(store, letters, Settings(), now_us=lambda: NOW_US)

    def told(kind: str) -> tuple[float, float]:
        count = REGISTRY.get_sample_value("freshet_freshness_seconds_count", {"event": kind})
        total = REGISTRY.get_sample_value("freshet_freshness_seconds_sum", {"event": kind})
        return count or 0.0, total or 0.0

    before = {kind: told(kind) for kind in ("click", "hide", "like")}
    kinds_and_ages_ms = [(Interaction.CLICK, 900), (Interaction.HIDE, 250), (Interaction.CLICK, 100)]
    records = [
        Record(
            offset,
            Interaction(user_id="u", product_id="p", kind=kind).SerializeToString(),
            timestamp=NOW_US // 1_000 - age,
        )
        for offset, (kind, age) in enumerate(kinds_and_ages_ms)
    ]
    await worker.apply(Batch([Run(TOPIC, 0, records)], [], {}))
    after = {kind: told(kind) for kind in ("click", "hide", "like")}
    grown = {kind: tuple(np.subtract(after[kind], before[kind]).round(6)) for kind in after}
    assert grown == {"click": (1, 0.9), "hide": (1, 0.25), "like": (0, 0)}
