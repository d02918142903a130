"""Description and title: sums of word vectors that `words.text_table` made, and on request a sentence encoder."""

from __future__ import annotations

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
        with torch.no_grad():
            return torch.cat([self(torch.from_numpy(tokens[i : i + 1_024])) for i in range(0, len(tokens), 1_024)])


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
        said = (pieces != 0).any(dim=1, keepdim=True).float()
        return unit(self.network(pieces) - self.mean) * said

    def fit(self, tokens: NDArray[np.int32]) -> NDArray[np.float32]:
        """Take the mean of these texts, and give what it says of them, (texts, width)."""
        pieces = torch.from_numpy(tokens[:, TEXT_LENGTH:])
        with torch.no_grad():
            found = torch.cat([self.network(pieces[i : i + AT_ONCE]) for i in range(0, len(pieces), AT_ONCE)])
            said = (pieces != 0).any(dim=1)
            self.mean = found[said].mean(dim=0) if bool(said.any()) else self.mean
            sentences: NDArray[np.float32] = (unit(found - self.mean) * said[:, None]).numpy()
        return sentences


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
            with torch.no_grad():
                parts = [self(torch.from_numpy(tokens[i : i + AT_ONCE])) for i in range(0, len(tokens), AT_ONCE)]
            return torch.cat(parts)
        known = torch.from_numpy(sentences)
        with torch.no_grad():
            parts = [
                self._with(torch.from_numpy(tokens[i : i + 1_024]), known[i : i + 1_024])
                for i in range(0, len(tokens), 1_024)
            ]
        return torch.cat(parts)

    def _with(self, tokens: Tensor, sentences: Tensor) -> Tensor:
        words = super().forward(tokens[:, :TEXT_LENGTH])
        return torch.cat([words[:, : self.size] + sentences @ self.adds, words[:, self.size :]], dim=1)
