"""The real parts that tests share: started when the first test asks, one of each per session."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from installed import require

if TYPE_CHECKING:
    from freshet.local.stack import LocalStack


@pytest.fixture(scope="session")
def kafka() -> Iterator[str]:
    """A real broker, as its kafka:// URL. Topics are not created by themselves: make some with names of your own."""
    from freshet.local.kafka import temporary_broker

    require("kafka")
    with temporary_broker() as url:
        yield url


@pytest.fixture(scope="session")
def milvus() -> Iterator[str]:
    """A real Milvus, as its milvus:// URL."""
    from freshet.local.milvus import temporary_milvus

    require("milvus")
    with temporary_milvus() as url:
        yield url


@pytest.fixture(scope="session")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model directory, trained for a moment on a dozen products: real networks, no quality."""
    from freshet.domain.products import Product
    from freshet.representation.commands import RANKING
    from freshet.representation.data import training_data
    from freshet.representation.export import export
    from freshet.representation.options import TrainingOptions
    from freshet.representation.train import train

    out = tmp_path_factory.mktemp("models")
    kinds = ("red dress", "blue dress", "wool coat", "rain coat", "running shoe", "leather boot")
    products = [
        Product(f"p{number}", title=f"{kinds[number % 6]} {number}", price=10.0 + number, currency="EUR")
        for number in range(12)
    ]
    touched = [(f"u{user}", f"p{(user + step) % 12}") for user in range(12) for step in (0, 6)]
    data = training_data(products, touched, [], out)
    options = TrainingOptions(seed=1, seconds=5.0, epochs=1, threads=1)
    export(train(data, options, lambda _stage, _share: None), data, options, out, RANKING, {})
    return out / "current"


@pytest.fixture(scope="session")
def triton(small_model: Path) -> Iterator[str]:
    """A real Triton that serves `small_model`, as its triton:// URL."""
    from freshet.local.triton import temporary_triton

    require("triton")
    with temporary_triton(small_model / "triton") as url:
        yield url


@pytest.fixture(scope="session")
def stack(small_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """The whole line with `small_model`, on free ports; `stack.settings` reach it. Leave it healthy."""
    from freshet.local.stack import LocalStack

    require()
    with LocalStack(tmp_path_factory.mktemp("stack"), {"model_dir": small_model}, usual_ports=False) as running:
        yield running
