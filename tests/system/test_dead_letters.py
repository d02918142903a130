"""Records that cannot be read: kept with their own bytes, listed, and replayed. Invariant 4."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from topics import own_topics
from typer.testing import CliRunner

from freshet import bootstrap
from freshet.adapters.kafka import Producer, ensure_topics
from freshet.settings import Settings, StreamSettings
from freshet.stream.commands import dead_letters_app
from freshet.stream.dead_letters import REPLAY_OF, DeadLetters, read_letters, replay
from freshet.stream.profiles import ProfileWorker
from freshet.stream.worker import Batch, Worker
from freshet.v1.interaction_pb2 import Interaction

pytestmark = pytest.mark.stack


@pytest.fixture
def settings(kafka: str, tmp_path: Path) -> Settings:
    topics = own_topics(1)
    ensure_topics(kafka, topics)
    stream = StreamSettings(record_bytes=5_000)
    return Settings(
        kafka_url=kafka, database_url=f"memory://{topics.products}", topics=topics, stream=stream, data_dir=tmp_path
    )


class Watched(ProfileWorker):
    """Stops its worker once so many records are applied."""

    worker: Worker
    wanted: int

    async def open(self) -> None: ...

    async def apply(self, batch: Batch) -> None:
        await super().apply(batch)
        if self._store.progress(self.name)[self.topics[0], 0].next_offset >= self.wanted:
            self.worker.stop()


async def work(settings: Settings, until: int) -> ProfileWorker:
    producer = bootstrap.producer(settings)
    handler = Watched(bootstrap.profile_store(settings), DeadLetters(producer, settings.topics.dead_letters), settings)
    handler.wanted, handler.worker = until, Worker(handler, settings)
    await handler.worker.run()
    producer.close()
    return handler


def publish_poison(settings: Settings) -> None:
    producer = Producer(settings.kafka_url)
    good = Interaction(user_id="u", product_id="p", kind=Interaction.CLICK).SerializeToString()
    topic = settings.topics.interactions
    futures = [
        producer.publish(topic, "u", good),
        producer.publish(topic, "u", b"\xff\xfe not a message", {"content-type": b"application/protobuf", "a": b"1"}),
        producer.publish(topic, "u", b'{"userId": "u", "kind": "CLICK"}', {"content-type": b"application/json"}),
        producer.publish(topic, "u", b'{"user": "u"}'),
        producer.publish(topic, "u", b"x" * 6_000),
        producer.publish(topic, "u", None),
        producer.publish(topic, "u", good),
    ]
    producer.flush()
    assert [future.result().offset for future in futures] == list(range(7))
    producer.close()


async def test_each_bad_record_is_kept_with_its_reason_and_good_ones_are_counted(settings: Settings) -> None:
    publish_poison(settings)
    await work(settings, until=7)
    letters = list(read_letters(settings.kafka_url, settings.topics.dead_letters))
    assert [(letter.message.source.offset, letter.reason) for letter in letters] == [
        (1, "UNREADABLE"),
        (2, "INVALID"),
        (3, "UNREADABLE"),
        (4, "TOO_LARGE"),
        (5, "UNREADABLE"),
    ]
    assert letters[0].message.value == b"\xff\xfe not a message"
    assert dict(letters[0].message.headers) == {"content-type": b"application/protobuf", "a": b"1"}
    assert letters[0].message.key == b"u"
    assert "product_id" in letters[1].message.detail
    assert all(letter.message.worker == "profiles" for letter in letters)
    assert bootstrap.serving_store(settings).profile("u") is not None


async def test_a_replayed_letter_is_the_original_record(settings: Settings) -> None:
    publish_poison(settings)
    await work(settings, until=7)
    letters = list(read_letters(settings.kafka_url, settings.topics.dead_letters))
    producer = Producer(settings.kafka_url)
    places = replay(producer, [letters[0]])
    producer.close()
    assert [(place.topic, place.offset) for place in places] == [(settings.topics.interactions, 7)]
    await work(settings, until=8)
    again = list(read_letters(settings.kafka_url, settings.topics.dead_letters))[-1]
    assert again.message.value == letters[0].message.value
    assert again.message.headers["a"] == b"1"
    assert again.message.headers[REPLAY_OF] == f"{settings.topics.dead_letters}/0/0".encode()


async def test_the_command_lists_shows_and_replays(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    publish_poison(settings)
    await work(settings, until=7)
    monkeypatch.setenv("FRESHET_KAFKA_URL", settings.kafka_url)
    monkeypatch.setenv("FRESHET_TOPICS__DEAD_LETTERS", settings.topics.dead_letters)
    run = CliRunner()
    listed = json.loads(run.invoke(dead_letters_app, ["list", "--reason", "UNREADABLE", "--json"]).stdout)
    assert [row["offset"] for row in listed] == [1, 3, 5]
    shown = json.loads(run.invoke(dead_letters_app, ["show", "0/0", "--json"]).stdout)
    assert shown["value"] == "\\xff\\xfe not a message"
    dry = json.loads(run.invoke(dead_letters_app, ["replay", "--all", "--dry-run", "--json"]).stdout)
    assert (len(dry["chosen"]), dry["replayed"]) == (5, 0)
    done = json.loads(run.invoke(dead_letters_app, ["replay", "0/0", "0/1", "--json"]).stdout)
    assert done["places"] == [f"{settings.topics.interactions}/0/{offset}" for offset in (7, 8)]
    refused = run.invoke(dead_letters_app, ["show", "0/99"])
    assert "no dead letter" in str(refused.exception)
