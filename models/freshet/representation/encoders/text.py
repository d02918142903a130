"""Description and title: sums of word vectors that `words.text_table` made, and on request a sentence encoder."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from freshet.representation.preprocessing import TEXT_BUCKETS, TEXT_LENGTH, TextReader
from freshet.representation.tensors import unit

AT_ONCE = 64
"""Texts: more at once are no faster."""


class TextEncoder(nn.Module):
    """Sums of word vectors. The table is kept in float16: half the file, and no loss that can be measured."""

    table: Tensor

    def __init__(self, table: NDArray[np.float32], size: int, reader: TextReader | None = None) -> None:
        """`table`: (TEXT_BUCKETS + 1, size + terms) as `words.text_table` makes it; row 0 is padding and zero."""
        super().__init__()
        self.size, self.reader = size, reader or TextReader()
        self.register_buffer("table", torch.from_numpy(table[: TEXT_BUCKETS + 1]).to(torch.float16))

    def forward(self, tokens: Tensor) -> Tensor:
        """tokens int32 (B, TEXT_LENGTH) → float32 (B, size + terms): learned, as long as it is; terms, unit length."""
        sums = self.table[tokens.long()].float().sum(dim=1)
        return torch.cat([sums[:, : self.size], unit(sums[:, self.size :])], dim=1)

    def encode(self, tokens: NDArray[np.int32], sentences: NDArray[np.float32] | None = None) -> Tensor:
        """Any number of texts, (texts, size + terms). `sentences` are what `Sentences` said of them, if known."""
        return _batched(self, 1_024, tokens)


class Sentences(nn.Module):
    """What a sentence encoder says of a text beside the mean of a catalogue's texts, of unit length; zero of nothing.

    Sentence encoders give all texts of one trade much the same vector: what tells them apart is the rest.
    """

    mean: Tensor

    def __init__(self, network: nn.Module, width: int) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.zeros(width))

    def forward(self, pieces: Tensor) -> Tensor:
        """pieces int32 (B, n), 0 is padding → float32 (B, width)."""
        return self._beside_mean(pieces, self.network(pieces))

    def fit(self, tokens: NDArray[np.int32]) -> NDArray[np.float32]:
        """Take the mean of these texts, and give what it says of them, (texts, width)."""
        pieces = torch.from_numpy(tokens[:, TEXT_LENGTH:])
        found = _batched(self.network, AT_ONCE, tokens[:, TEXT_LENGTH:])
        said = (pieces != 0).any(dim=1)
        self.mean = found[said].mean(dim=0) if bool(said.any()) else self.mean
        sentences: NDArray[np.float32] = self._beside_mean(pieces, found).numpy()
        return sentences

    def _beside_mean(self, pieces: Tensor, found: Tensor) -> Tensor:
        return unit(found - self.mean) * (pieces != 0).any(dim=1, keepdim=True).float()


class SentenceTextEncoder(TextEncoder):
    """Word vectors' sums, and what a sentence's vector adds to their learned part."""

    adds: Tensor

    def __init__(self, table: NDArray[np.float32], size: int, reader: TextReader, sentences: Sentences) -> None:
        """`table`: as `words.text_table` makes it with sentences: behind the words, a row per dimension of theirs."""
        super().__init__(table, size, reader)
        self.sentences = sentences
        self.register_buffer("adds", torch.from_numpy(table[TEXT_BUCKETS + 1 :, :size].copy()))

    def forward(self, tokens: Tensor) -> Tensor:
        """tokens int32 (B, TEXT_LENGTH + pieces) → float32 (B, size + terms)."""
        return self._with(tokens, self.sentences(tokens[:, TEXT_LENGTH:]))

    def encode(self, tokens: NDArray[np.int32], sentences: NDArray[np.float32] | None = None) -> Tensor:
        if sentences is None:
            return _batched(self, AT_ONCE, tokens)
        return _batched(self._with, 1_024, tokens, sentences)

    def _with(self, tokens: Tensor, sentences: Tensor) -> Tensor:
        words = super().forward(tokens[:, :TEXT_LENGTH])
        return torch.cat([words[:, : self.size] + sentences @ self.adds, words[:, self.size :]], dim=1)


def _batched(network: Callable[..., Tensor], rows: int, *inputs: NDArray[np.generic]) -> Tensor:
    """What it gives of all rows, so many at once."""
    with torch.no_grad():
        return torch.cat(
            [
                network(*(torch.from_numpy(each[start : start + rows]) for each in inputs))
                for start in range(0, len(inputs[0]), rows)
            ]
        )
