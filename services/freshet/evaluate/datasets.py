"""Published data sets as matrices, each with the split that its published figures use. NumPy and SciPy; no torch.

Where a set's figures come from, and how they were measured, stands in its suite (freshet.evaluate.suites).
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from freshet.errors import ConfigurationError


@dataclass(frozen=True)
class Split:
    """What a ranking may know, what it leaves out, and what it should find: sparse matrices (users, items).

    `features` holds what is known of the items themselves, by name, each (items, size), dense or sparse.
    """

    name: str
    known: Any
    seen: Any
    targets: Any
    features: dict[str, Any] = field(default_factory=dict)


def read_user_items(directory: Path, name: str) -> tuple[Split, Split]:
    """(validation, test) of a set in DiffMM's layout: NAME_{trn,val,tst}_user_item.txt.gz, NAME_*_feat.npy.

    Both know train alone and leave it out: the published figures rank validation items for test users too.
    Raises ConfigurationError.
    """
    parts = [_pairs(directory / f"{name}_{part}_user_item.txt.gz") for part in ("trn", "val", "tst")]
    shape = tuple(int(max(part[:, axis].max() for part in parts)) + 1 for axis in (0, 1))
    train, valid, test = (_matrix(part[:, 0], part[:, 1], shape) for part in parts)
    features = {
        path.name.removeprefix(f"{name}_").removesuffix("_feat.npy"): np.load(path).astype(np.float32)
        for path in sorted(directory.glob(f"{name}_*_feat.npy"))
    }
    return Split("valid", train, train, valid, features), Split("test", train, train, test, features)


@dataclass(frozen=True)
class Sequences:
    """Each user's items in order of time, and attributes of the items, sparse (items, attributes)."""

    listed: Sequence[NDArray[np.int64]]
    items: int
    attributes: Any

    def history(self, cut: int) -> list[NDArray[np.int64]]:
        """What is known when the item at place `cut` from the end (-1: test, -2: validation) is to be found."""
        return [items[:cut] for items in self.listed]

    def targets(self, cut: int) -> NDArray[np.int64]:
        return np.array([items[cut] for items in self.listed])


def read_sequences(directory: Path, name: str) -> Sequences:
    """A set in S3-Rec's layout: NAME.txt, a line per user `user item item …`, and NAME_item2attributes.json.

    Items count from 1 there and from 0 here. Raises ConfigurationError.
    """
    path = directory / f"{name}.txt"
    if not path.is_file():
        raise ConfigurationError(f"{path} is not there")
    listed = []
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        try:
            items = np.array(line.split()[1:], dtype=np.int64) - 1
        except ValueError as error:
            raise ConfigurationError(f"{path}, line {number}: {error}") from error
        if len(items) < 3:
            raise ConfigurationError(f"{path}, line {number}: has {len(items)} items; one each to learn, tune and test")
        listed.append(items)
    count = int(max(items.max() for items in listed)) + 1
    return Sequences(listed, count, _attributes(directory / f"{name}_item2attributes.json", count))


def flattened(histories: Sequence[NDArray[np.int64]]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """(users, items), both (interactions,): each user's items in their order."""
    users = np.repeat(np.arange(len(histories)), [len(history) for history in histories])
    return users.astype(np.int32), np.concatenate(histories).astype(np.int32)


def _attributes(path: Path, items: int) -> Any:
    if not path.is_file():
        return sparse.csr_matrix((items, 0))
    named = {int(item) - 1: values for item, values in json.loads(path.read_text()).items()}
    rows = [item for item, values in named.items() if item < items for _ in values]
    columns = [value for item, values in named.items() if item < items for value in values]
    return _matrix(np.array(rows), np.array(columns), (items, max(columns, default=-1) + 1))


def _pairs(path: Path) -> NDArray[np.int64]:
    if not path.is_file():
        raise ConfigurationError(f"{path} is not there")
    with gzip.open(path, "rt") as opened:
        return np.loadtxt(opened, dtype=np.int64, ndmin=2)


def _matrix(rows: NDArray[np.int64], columns: NDArray[np.int64], shape: tuple[int, ...]) -> Any:
    """Ones at these places, however often a pair comes."""
    matrix = sparse.csr_matrix((np.ones(len(rows), np.float32), (rows, columns)), shape=shape)
    matrix.sum_duplicates()
    matrix.data[:] = 1.0
    return matrix
