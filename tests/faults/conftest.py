"""One real stack for this folder alone: its parts are killed, and its log gets bad records."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import grpc
import pytest
from installed import require
from line import Line

from freshet.adapters.kafka import Producer
from freshet.local.stack import LocalStack


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The one folder that file: addresses may name."""
    return tmp_path_factory.mktemp("pictures")


@pytest.fixture(scope="session")
def stack(small_model: Path, pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """The whole line, on free ports. Its answers ask the index, however small the catalogue. Leave it healthy."""
    require()
    overrides = {
        "model_dir": small_model,
        "recommend": {"retrieval": "index"},
        "images": {"file_roots": [pictures]},
    }
    with LocalStack(tmp_path_factory.mktemp("faulty-stack"), overrides, usual_ports=False) as running:
        yield running


@pytest.fixture(scope="session")
def producer(stack: LocalStack) -> Iterator[Producer]:
    with closing(Producer(stack.settings.kafka_url)) as connected:
        yield connected


@pytest.fixture
def line(stack: LocalStack, producer: Producer) -> Line:
    """A publisher with identifiers that no other test has."""
    return Line(stack.settings, producer)


@pytest.fixture(scope="session")
def recommend_channel(stack: LocalStack) -> Iterator[grpc.Channel]:
    at = stack.settings.recommend
    with grpc.insecure_channel(f"{at.host}:{at.port}") as channel:
        yield channel


@pytest.fixture(scope="session")
def ingest_channel(stack: LocalStack) -> Iterator[grpc.Channel]:
    at = stack.settings.ingest
    options = [("grpc.max_send_message_length", 64 * 2**20)]
    with grpc.insecure_channel(f"{at.host}:{at.port}", options=options) as channel:
        yield channel
