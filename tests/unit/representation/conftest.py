"""A tiny shop to train on: forty products in four kinds, drawn in the colour of their kind; some lack a modality."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pictures

from freshet.domain.products import Image, Product, Version
from freshet.domain.reviews import Review
from freshet.representation.data import TrainingData, training_data
from freshet.representation.export import export
from freshet.representation.manifest import Manifest
from freshet.representation.options import TrainingOptions
from freshet.representation.train import Trained, train

KINDS = {"coat": (200, 30, 30), "scarf": (30, 200, 30), "boot": (30, 30, 200), "hat": (120, 120, 10)}


@pytest.fixture(scope="session")
def shop() -> TrainingData:
    return _shop([Review(f"r{i}", f"p{i}", 1.0 + i % 5, f"a good {i}", Version(1, i)) for i in range(0, 40, 3)])


@pytest.fixture(scope="session")
def rated_shop() -> TrainingData:
    """The same shop where stars can be learned: many reviews, and each kind has its own."""
    stars = {kind: 2.0 + place for place, kind in enumerate(KINDS)}
    return _shop(
        [
            Review(f"r{i}-{n}", f"p{i}", stars[list(KINDS)[i % 4]], f"number {n} of {i}", Version(1, 30 * i + n))
            for i in range(40)
            for n in range(30)
        ]
    )


def _shop(reviews: list[Review]) -> TrainingData:
    generator = np.random.default_rng(0)
    products, interactions = [], []
    for i in range(40):
        kind = list(KINDS)[i % 4]
        file = io.BytesIO()
        noise = generator.integers(0, 20, 3)
        Pictures.new("RGB", (80, 64 + i), tuple(int(c) for c in np.array(KINDS[kind]) + noise)).save(file, "PNG")
        products.append(
            Product(
                f"p{i}",
                title=f"{kind} number {i}" if i != 7 else "",
                categories=(kind,),
                price=10.0 * (1 + i % 4) if i != 9 else None,
                image=Image(content=file.getvalue()) if i not in (8, 9) else None,
            )
        )
        interactions += [(f"u{i % 4}-{i % 3}", f"p{i}")]
    return training_data(products, interactions, reviews, Path())


@pytest.fixture(scope="session")
def options() -> TrainingOptions:
    return TrainingOptions(seed=3, epochs=2, seconds=600.0)


@pytest.fixture(scope="session")
def trained(shop: TrainingData, options: TrainingOptions) -> Trained:
    return train(shop, options)


@pytest.fixture(scope="session")
def models(
    trained: Trained, shop: TrainingData, options: TrainingOptions, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Manifest]:
    """Where the tiny model was exported to, and its manifest."""
    out = tmp_path_factory.mktemp("models")
    return out, export(trained, shop, options, out, {"text": 1.0}, {"loss": 1.0})
