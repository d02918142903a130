"""The profile worker as a process of its own, against a real broker and a database file. Invariants 1, 2 and 4."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from topics import own_topics
from waiting import wait_until

from freshet import bootstrap
from freshet.adapters.kafka import Producer, ensure_topics
from freshet.domain import covisits, profiles
from freshet.settings import ProfileSettings, Settings
from freshet.stream.lag import worker_status
from freshet.v1.interaction_pb2 import Interaction

pytestmark = pytest.mark.stack

NOW_US = time.time_ns() // 1_000


@pytest.fixture
def settings(kafka: str, tmp_path: Path) -> Settings:
    topics = own_topics(2)
    settings = Settings(kafka_url=kafka, database_url=f"sqlite:///{tmp_path}/f.db", topics=topics, data_dir=tmp_path)
    ensure_topics(kafka, topics)
    bootstrap.migrate(settings)
    return settings


@contextmanager
def worker(settings: Settings, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`freshet worker profiles`. The group is Kafka's, and topics are the test's own: fresh topics, fresh offsets."""
    environment = os.environ | {
        "FRESHET_KAFKA_URL": settings.kafka_url,
        "FRESHET_DATA_DIR": str(settings.data_dir),
        "FRESHET_DATABASE_URL": settings.database_url,
        "FRESHET_TOPICS__INTERACTIONS": settings.topics.interactions,
        "FRESHET_TOPICS__DEAD_LETTERS": settings.topics.dead_letters,
        "FRESHET_STREAM__BATCH_RECORDS": "200",
    }
    command = [sys.executable, "-c", "from freshet.cli import main; main()", "worker", "profiles"]
    with log.open("ab") as output:
        process = subprocess.Popen(command, env=environment, stderr=output, stdout=output)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def click(i: int) -> Interaction:
    message = Interaction(
        event_id=f"e{i}", user_id=f"u{i % 97}", product_id=f"p{i * 7919 % 211}", kind=(i % 5) + 1 if i % 5 < 4 else 6
    )
    message.event_time.FromMicroseconds(NOW_US - 1_000_000 + i)
    return message


def publish(settings: Settings, first: int, last: int) -> None:
    producer = Producer(settings.kafka_url, linger_ms=5)
    for i in range(first, last):
        message = click(i)
        producer.publish(settings.topics.interactions, message.user_id, message.SerializeToString())
    producer.flush()
    producer.close()


def lag(settings: Settings) -> int:
    store = bootstrap.profile_store(settings)
    try:
        return sum(row.lag_records for row in worker_status(settings, "profiles", store))
    finally:
        store.close()


def state(settings: Settings) -> tuple[dict[str, profiles.Profile], dict[str, covisits.Behaviour]]:
    """Profiles with products by name, and behaviour by product."""
    store = bootstrap.profile_store(settings)
    try:
        numbers = store.product_numbers([f"p{i}" for i in range(211)])
        names = {number: name for name, number in numbers.items()}
        loaded = {u: profiles.decode(d) for u, d in store.load_profiles([f"u{i}" for i in range(97)]).items()}
        behaviour = store.load_behaviour(list(names))
        return loaded, {names[n]: covisits.decode(d) for n, d in behaviour.items()}
    finally:
        store.close()


def totals(settings: Settings) -> tuple[dict[str, dict[str, float]], dict[str, tuple[float, float]]]:
    """What must not depend on crashes: every user's weights by product, and every product's users and demand."""
    store = bootstrap.profile_store(settings)
    numbers = store.product_numbers([f"p{i}" for i in range(211)])
    store.close()
    names = {number: name for name, number in numbers.items()}
    users, products = state(settings)
    weights = {u: {names[n]: t.weight for n, t in p.touches.items()} for u, p in users.items()}
    return weights, {name: (b.users, b.trend) for name, b in products.items()}


def test_killed_in_the_middle_it_counts_nothing_twice_and_loses_nothing(settings: Settings, tmp_path: Path) -> None:
    """Invariants 1 and 2: three kills while it works, then the same log into an empty database."""
    publish(settings, 0, 12_000)
    published = 12_000
    for _ in range(3):
        before = lag(settings)
        with worker(settings, tmp_path / "log") as process:
            wait_until(lambda behind=before: lag(settings) < behind, "some of it is applied", 40.0)  # type: ignore[misc]
            process.kill()
            process.wait()
        publish(settings, published, published + 6_000)
        published += 6_000
    with worker(settings, tmp_path / "log") as process:
        wait_until(lambda: lag(settings) == 0, "all of it is applied", 40.0)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0
    fresh = settings.model_copy(update={"database_url": f"sqlite:///{tmp_path}/again.db"})
    bootstrap.migrate(fresh)
    with worker(fresh, tmp_path / "log2"):
        wait_until(lambda: lag(fresh) == 0, "all of it is applied", 40.0)
    (weights, products), (weights_again, products_again) = totals(settings), totals(fresh)
    assert weights.keys() == weights_again.keys() == {f"u{i}" for i in range(97)}
    for user, touches in weights.items():
        assert touches == pytest.approx(weights_again[user]), user
    for name, (_, trend) in products.items():
        assert trend == pytest.approx(products_again[name][1], abs=1e-9), name


def test_a_click_that_comes_again_is_counted_once(settings: Settings, tmp_path: Path) -> None:
    for _ in range(3):
        publish(settings, 0, 50)
    with worker(settings, tmp_path / "log"):
        wait_until(lambda: lag(settings) == 0, "all of it is applied", 40.0)
    users, _ = state(settings)
    assert sum(len(profile.event_hashes) for profile in users.values()) == 50
    weights = ProfileSettings().weights
    assert weights["CLICK"] == 1.0
    assert all(touch.weight <= 4.0 for profile in users.values() for touch in profile.touches.values())


def test_it_stops_within_the_time_that_kubernetes_gives_it(settings: Settings, tmp_path: Path) -> None:
    publish(settings, 0, 5_000)
    with worker(settings, tmp_path / "log") as process:
        wait_until(lambda: lag(settings) == 0, "all of it is applied", 40.0)
        process.terminate()
        assert process.wait(timeout=30) == 0
