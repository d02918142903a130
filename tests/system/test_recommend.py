"""`freshet serve recommend` as it is run: real Kafka, a real database file, the profile worker, real processes."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import psutil
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from freshet import bootstrap
from freshet.adapters.kafka import Producer, ensure_topics
from freshet.codec.tokens import write_token
from freshet.codec.wire import PROTOBUF
from freshet.domain.representations import Layout, Modality, Segment, pack
from freshet.settings import Settings, Topics
from freshet.v1 import interaction_pb2, stream_pb2
from freshet.v1 import recommendation_service_pb2 as pb
from freshet.v1 import recommendation_service_pb2_grpc as rpc

pytestmark = pytest.mark.stack

LAYOUT = Layout("test-1", (Segment(Modality.TEXT, 16), Segment(Modality.JOINT, 16)))
HEADERS = [("content-type", PROTOBUF.encode())]


class Place:
    """Settings of one test's own topics, database and model, as settings and as environment."""

    def __init__(self, folder: Path, kafka: str, **recommend: Any) -> None:
        names = {
            name: f"{folder.name}.{name}" for name in Topics.model_fields if name not in ("partitions", "replication")
        }
        self.settings = Settings(
            kafka_url=kafka,
            database_url=f"sqlite:///{folder}/freshet.db",
            index_url="memory://",
            model_dir=folder / "model",
            data_dir=folder,
            topics=Topics(**names, partitions=2),
            recommend={"port": 0, **recommend},  # type: ignore[arg-type]
        )
        self.environment = os.environ | {
            f"FRESHET_{name.upper()}": str(getattr(self.settings, name))
            for name in ("kafka_url", "database_url", "index_url", "model_dir", "data_dir")
        }
        self.environment["FRESHET_TOPICS"] = self.settings.topics.model_dump_json()
        self.environment["FRESHET_RECOMMEND"] = self.settings.recommend.model_dump_json()
        (folder / "model").mkdir()
        (folder / "model" / "model.json").write_text(
            json.dumps(
                {
                    "model_version": LAYOUT.model_version,
                    "segments": [{"name": segment.name, "size": segment.size} for segment in LAYOUT.segments],
                    "typical_prices": {},
                    "ranking": {},
                    "training": {},
                    "metrics": {},
                    "files": {},
                }
            )
        )
        bootstrap.migrate(self.settings)
        ensure_topics(kafka, self.settings.topics)

    def publish_products(self, count: int) -> None:
        """Products p0 … in four kinds: p0, p4, p8 … are alike."""
        store = bootstrap.profile_store(self.settings)
        producer = Producer(self.settings.kafka_url, linger_ms=5)
        ids = [f"p{i}" for i in range(count)]
        numbers = store.product_numbers(ids)
        for i, product_id in enumerate(ids):
            kind = np.eye(16, dtype=np.float32)[i % 4] + 0.01 * np.eye(16, dtype=np.float32)[4 + i % 12]
            message = stream_pb2.Representation(
                product_id=product_id,
                product_number=numbers[product_id],
                model_version=LAYOUT.model_version,
                vector=pack(LAYOUT.assemble({Modality.TEXT: kind, Modality.JOINT: kind})),
                title=f"Product {i}",
                available=True,
            )
            producer.publish(self.settings.topics.representations, product_id, message.SerializeToString(), HEADERS)
        producer.flush()
        producer.close()
        store.close()


@contextmanager
def running(place: Place, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", "from freshet.cli import main; main()", *arguments],
        env=place.environment, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(60)
        assert process.stdout is not None
        process.stdout.close()


def address_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith("freshet recommend: listening on "), line
    return line.split()[-1]


def listeners(port: int, parent: int) -> set[int]:
    """The children of `parent` that listen on a port."""
    return {
        child.pid
        for child in psutil.Process(parent).children(recursive=True)
        if any(c.status == psutil.CONN_LISTEN and c.laddr.port == port for c in child.net_connections("tcp"))
    }


def wait_serving(channel: grpc.Channel, timeout_seconds: float = 30.0) -> None:
    """Follow grpc.health.v1 until it says SERVING."""
    watch = health_pb2_grpc.HealthStub(channel).Watch(
        health_pb2.HealthCheckRequest(service="freshet.v1.RecommendationService"),
        timeout=timeout_seconds, wait_for_ready=True,
    )  # fmt: skip
    for answer in watch:
        if answer.status == health_pb2.HealthCheckResponse.SERVING:
            watch.cancel()
            return


def test_a_click_on_kafka_shows_in_the_next_answer(tmp_path: Path, kafka: str) -> None:
    place = Place(tmp_path, kafka)
    place.publish_products(40)
    producer = Producer(kafka)
    with (
        running(place, "worker", "profiles"),
        running(place, "serve", "recommend") as service,
        grpc.insecure_channel(address_of(service)) as channel,
    ):
        wait_serving(channel)
        stub = rpc.RecommendationServiceStub(channel)
        before = stub.Recommend(pb.RecommendRequest(user_id="ann", page_size=3), timeout=60.0)
        assert before.basis in (pb.CATALOGUE, pb.TRENDING)
        for i, product_id in enumerate(("p1", "p2")):
            click = interaction_pb2.Interaction(
                event_id=f"e{i}", user_id="ann", product_id=product_id, kind=interaction_pb2.Interaction.CLICK
            )
            place_of_click = producer.publish(
                place.settings.topics.interactions, "ann", click.SerializeToString(), HEADERS
            ).result(60.0)
            after = stub.Recommend(
                pb.RecommendRequest(
                    user_id="ann", page_size=18, diversity=0.0,
                    at_least=[write_token([place_of_click])], at_least_wait={"seconds": 20},
                ),
                timeout=25.0,
            )  # fmt: skip
            assert after.freshness.at_least_reached
            assert after.basis == pb.PROFILE
            assert product_id in {product.because_product_id for product in after.products}
            assert product_id not in {product.product_id for product in after.products}
        assert not after.freshness.degraded
    producer.close()
    assert service.returncode == 0


def test_two_processes_share_one_port(tmp_path: Path, kafka: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    place = Place(tmp_path, kafka, workers=2)
    place.environment["FRESHET_RECOMMEND"] = json.dumps({"workers": 2, "port": port})
    place.publish_products(8)
    with running(place, "serve", "recommend") as service:
        assert address_of(service) == f"127.0.0.1:{port}"
        deadline = time.monotonic() + 30.0
        while len(listeners(port, service.pid)) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            wait_serving(channel)
            answer = rpc.RecommendationServiceStub(channel).Recommend(pb.RecommendRequest(user_id="u"), timeout=60.0)
            assert len(answer.products) == 8
    assert service.returncode == 0
