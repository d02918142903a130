"""Labelled photographs as the suite `pictures` reads them: groceries with their iconic pictures, and clothes."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from freshet.domain.products import Product
from freshet.errors import ConfigurationError


@dataclass(frozen=True)
class Photos:
    """`contents` are files; `labels` int64 (photos,) says what is on each."""

    contents: Sequence[bytes]
    labels: NDArray[np.int64]


@dataclass(frozen=True)
class Grocery:
    """Kinds of groceries as products, with the iconic picture of each, and photographs of them taken in shops."""

    kinds: Sequence[Product]
    iconic: Sequence[bytes]
    val: Photos
    test: Photos


def read_grocery(directory: Path) -> Grocery:
    """The grocery store data set (Klasson et al., 2019). Raises ConfigurationError that names what is missing."""
    kinds: dict[int, Product] = {}
    iconic: dict[int, bytes] = {}
    with _opened(directory / "classes.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            label = int(row["Class ID (int)"])
            described = _opened(directory / row["Product Description Path (str)"].lstrip("/"))
            kinds[label] = Product(
                f"kind-{label}",
                title=row["Class Name (str)"].replace("-", " "),
                categories=(row["Coarse Class Name (str)"].replace("-", " "),),
                description=described.read_text(encoding="utf-8").strip(),
            )
            iconic[label] = _opened(directory / row["Iconic Image Path (str)"].lstrip("/")).read_bytes()
    if sorted(kinds) != list(range(len(kinds))) or not kinds:
        raise ConfigurationError(f"{directory / 'classes.csv'}: class ids are not 0 to {len(kinds) - 1}")
    order = range(len(kinds))
    val, test = (_listed(directory, split) for split in ("val", "test"))
    return Grocery([kinds[label] for label in order], [iconic[label] for label in order], val, test)


def read_clothing(directory: Path) -> Photos:
    """A folder of photographs per label. Raises ConfigurationError where there is none."""
    paths = sorted(path for path in directory.glob("*/*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    if not paths:
        raise ConfigurationError(f"{directory} holds no folder of photographs per label")
    _, labels = np.unique([path.parent.name for path in paths], return_inverse=True)
    return Photos([path.read_bytes() for path in paths], labels.astype(np.int64))


def _listed(directory: Path, split: str) -> Photos:
    """What a split's list names, as far as it is there: the data set may be a part of the whole."""
    found = [(path, label) for path, label in _lines(directory / f"{split}.txt") if (directory / path).is_file()]
    if not found:
        raise ConfigurationError(f"{directory / split} holds none of the photographs that {split}.txt lists")
    contents = [(directory / path).read_bytes() for path, _ in found]
    return Photos(contents, np.array([label for _, label in found], dtype=np.int64))


def _lines(path: Path) -> Iterator[tuple[str, int]]:
    for number, line in enumerate(_opened(path).read_text(encoding="utf-8").splitlines(), start=1):
        parts = [part.strip() for part in line.split(",")]
        if len(parts) != 3 or not parts[1].isdigit():
            raise ConfigurationError(f"{path}, line {number}: is no path, class and coarse class")
        yield parts[0], int(parts[1])


def _opened(path: Path) -> Path:
    if not path.is_file():
        raise ConfigurationError(f"{path} is missing")
    return path
