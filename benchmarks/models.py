"""The model that a benchmark serves: the one that settings name, or else one trained on products made up here."""

from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path

import numpy as np

from benchmarks.report import DIRECTORY
from freshet.errors import FreshetError
from freshet.representation import manifest
from freshet.representation.commands import train
from freshet.representation.variants import variant
from freshet.settings import Settings

COLOURS = ("red", "blue", "green", "white", "black", "grey", "yellow", "pink")
STUFFS = ("linen", "cotton", "wool", "silk", "denim", "leather", "velvet", "jersey")
KINDS = ("dress", "shirt", "coat", "skirt", "scarf", "boot", "hat", "bag")
SHOPPERS = 1_000


def model_folder() -> Path:
    """Trained once, in half a minute, and kept under build/benchmarks."""
    home = DIRECTORY.absolute() / "model"
    for folder in (Settings().model_dir.absolute(), home / "models" / "current"):
        if _is_read(folder):
            return folder
    return _trained(home, "words")


def sentences_model_folder() -> Path:
    """The same with MiniLM in 8 bits beside the words."""
    home = DIRECTORY.absolute() / "sentences"
    if not _is_read(home / "int8" / "current"):
        variant(_trained(home, "minilm"), home / "int8", "int8")
    return home / "int8" / "current"


def _trained(home: Path, text: str) -> Path:
    print("there is no such model yet: one is trained on made-up products", file=sys.stderr)
    _write_shop(home / "shop")
    train(data=home / "shop", out=home / "models", text=text)
    return home / "models" / "current"


def _is_read(folder: Path) -> bool:
    try:
        return bool(manifest.load(folder))
    except FreshetError:
        return False


def _write_shop(folder: Path) -> None:
    """A product per colour, stuff and kind; every shopper likes one colour and one kind."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(1)
    choices = list(itertools.product(COLOURS, STUFFS, KINDS))
    products = [
        {
            "productId": f"p{i}",
            "title": f"{colour.capitalize()} {stuff} {kind}",
            "categories": [kind],
            "price": round(float(np.exp(random.normal(3.0, 0.5))), 2),
            "currency": "EUR",
        }
        for i, (colour, stuff, kind) in enumerate(choices)
    ]
    interactions = []
    for shopper in range(SHOPPERS):
        colour, kind = COLOURS[random.integers(8)], KINDS[random.integers(8)]
        liked = [i for i, choice in enumerate(choices) if colour == choice[0] or kind == choice[2]]
        interactions += [
            {"userId": f"u{shopper}", "productId": f"p{i}"} for i in random.choice(liked, 8, replace=False).tolist()
        ]
    for name, rows in (("products", products), ("interactions", interactions)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
