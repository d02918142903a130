"""What a new model version can begin from: the networks and word vectors of one that was exported before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from freshet.errors import ConfigurationError
from freshet.representation import manifest as card
from freshet.representation.preprocessing import TEXT_BUCKETS

WEIGHTS = "weights.npz"
"""Beside model.json: parameters and statistics of the networks, by name."""


@dataclass(frozen=True)
class Start:
    """`words` float32 (TEXT_BUCKETS + 1, text + terms) are the old word vectors, None where a text has no table."""

    state: Mapping[str, NDArray[np.generic]]
    words: NDArray[np.float32] | None

    def turned(self, table: NDArray[np.float32], tokens: NDArray[np.int32]) -> NDArray[np.float32]:
        """New word vectors (TEXT_BUCKETS + 1, n), turned to lie where the old ones of the same words do.

        A rotation (orthogonal Procrustes; Schönemann, 1966) leaves their inner products as they are; what old networks
        learned of old vectors then holds of the new ones. Those of another size are left alone.
        """
        size = table.shape[1]
        if self.words is None or self.words.shape[1] < size:
            return table
        used = np.unique(tokens[tokens > 0])
        left, _, right = np.linalg.svd(table[used].astype(np.float64).T @ self.words[used, :size].astype(np.float64))
        turned: NDArray[np.float32] = (table @ (left @ right)).astype(np.float32)
        return turned


def read_start(folder: Path) -> Start:
    """From a model's folder. Raises ConfigurationError and ModelMismatch."""
    manifest = card.load(folder)
    if not (manifest.folder / WEIGHTS).is_file():
        raise ConfigurationError(f"{folder} holds no {WEIGHTS}, it is of an older Freshet; train without it")
    with np.load(manifest.folder / WEIGHTS) as arrays:
        state = dict(arrays)
    words = None
    for initializer in onnx.load(str(card.network_file(manifest.folder, "text"))).graph.initializer:
        if len(initializer.dims) == 2 and initializer.dims[0] == TEXT_BUCKETS + 1:
            words = numpy_helper.to_array(initializer).astype(np.float32)
    return Start(state, words)
