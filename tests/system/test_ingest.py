"""Publishing through a real broker: what the producer confirmed is what a reader finds."""

from __future__ import annotations

import json
from pathlib import Path

import grpc
import pytest
from topics import own_topics

from freshet.adapters.kafka import Producer, ensure_topics
from freshet.codec.tokens import read_token
from freshet.ingest.records import RecordWriter
from freshet.ingest.server import running
from freshet.ingest.service import IngestionService
from freshet.settings import IngestSettings
from freshet.v1 import ingestion_service_pb2 as pb
from freshet.v1 import ingestion_service_pb2_grpc, interaction_pb2

pytestmark = pytest.mark.stack


async def test_a_published_click_is_in_kafka_when_the_answer_comes(kafka: str) -> None:
    topics = own_topics(1)
    ensure_topics(kafka, topics)
    producer = Producer(kafka)
    service = IngestionService(producer, RecordWriter(topics, source="test", record_bytes=1_000_000))
    click = interaction_pb2.Interaction(user_id="u1", product_id="p1", kind="CLICK")
    try:
        async with (
            running(service, IngestSettings(port=0), lambda: None) as address,
            grpc.aio.insecure_channel(address) as channel,
        ):
            stub = ingestion_service_pb2_grpc.IngestionServiceStub(channel)
            first = await stub.PublishInteractions(pb.PublishInteractionsRequest(interactions=[click]), timeout=20)
            second = await stub.PublishInteractions(pb.PublishInteractionsRequest(interactions=[click] * 3), timeout=20)
    finally:
        producer.close()
    assert [position.offset for position in read_token(first.consistency_token)] == [0]
    assert [position.offset for position in read_token(second.consistency_token)] == [3]


def test_a_file_with_a_bad_row_is_published_but_for_that_row_and_says_so_by_its_exit_code(
    kafka: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from typer.testing import CliRunner

    from freshet.ingest.commands import publish_app

    topics = own_topics(1)
    monkeypatch.setenv("FRESHET_KAFKA_URL", kafka)
    for name, value in topics.model_dump().items():
        monkeypatch.setenv(f"FRESHET_TOPICS__{name.upper()}", str(value))
    file = tmp_path / "clicks.csv"
    file.write_text("user,product_id,kind\nu1,p1,VIEW\nu1,,VIEW\nu2,p2,PURCHASE\n")
    result = CliRunner().invoke(publish_app, ["interactions", str(file), "--map", "user_id=user", "--json"])
    assert result.exit_code == 1
    summary = json.loads(result.stdout.splitlines()[-1])
    assert sum(position.offset + 1 for position in read_token(summary.pop("consistency_token"))) == 2
    assert summary | {"seconds": 0} == {
        "what": "interactions",
        "read": 3,
        "published": 2,
        "rejected": 1,
        "seconds": 0,
    }
    assert f"{file}:3: product_id" in result.stderr.replace("\n", "")
