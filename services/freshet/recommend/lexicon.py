"""Which products have a word, exactly: where vectors blur, and when the model is away. May import `domain`.

Words are known by their XXH32. Two bytes a product and word, and what a bitmap takes per word.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import xxhash
from numpy.typing import NDArray
from pyroaring import BitMap

from freshet.domain.searching import rarity
from freshet.representation.preprocessing import word_hashes, words

QUERY_WORDS = 64
"""So many distinct words of a query are looked up."""

Query = Mapping[str, int]
"""A query's words with their hashes."""


def distinct(text: str) -> Query:
    """The words of a query, each once, in order."""
    return {word: xxhash.xxh32_intdigest(word.encode()) for word in words(text, QUERY_WORDS)}


class Lexicon:
    """Words to rows of the mirror, kept by it: those of whole texts, and those of titles."""

    def __init__(self) -> None:
        self._rows: dict[int, BitMap] = {}
        self._titles: dict[int, BitMap] = {}
        self._lengths = np.zeros(1_024, np.uint16)
        """Distinct words of a row's text."""
        self._texts: list[bytes] = []
        self._words = self._products = 0

    def __len__(self) -> int:
        return len(self._rows)

    def change(self, row: int, hashes: Sequence[int]) -> None:
        """The row's text has these words now; none takes it out."""
        while len(self._texts) <= row:
            self._texts.append(b"")
        while row >= len(self._lengths):
            self._lengths = np.concatenate([self._lengths, np.zeros_like(self._lengths)])
        new = np.array(hashes, np.uint32)
        packed, before = new.tobytes(), self._texts[row]
        if packed == before:
            return
        old = np.frombuffer(before, np.uint32)
        _move(self._rows, row, old.tolist(), new.tolist())
        self._words += len(new) - len(old)
        self._products += bool(len(new)) - bool(len(old))
        self._texts[row], self._lengths[row] = packed, len(new)

    def retitle(self, row: int, before: str, after: str) -> None:
        """The row's title was `before` and is `after`."""
        _move(self._titles, row, word_hashes(before).tolist(), word_hashes(after).tolist())

    def shares(self, query: Query, count: int) -> NDArray[np.float64]:
        """Of the query's words the share that each of the first `count` rows has: in its whole text and in its
        title, (count, 2).

        Each word weighs its inverse document frequency. A long text has many words by chance: its share is divided by
        BM25's length norm to the power of a half, which is at most 2. A word that nothing has does not count.
        """
        whole, title = np.zeros(count), np.zeros(count)
        total = 0.0
        for word in query.values():
            if (rows := self._rows.get(word)) is None:
                continue
            weight = rarity(self._products, len(rows))
            total += weight
            _add(whole, rows, weight)
            if (rows := self._titles.get(word)) is not None:
                _add(title, rows, weight)
        if not total:
            return np.zeros((count, 2))
        usual = self._words / max(self._products, 1)
        lengths = np.zeros(count)
        known = self._lengths[:count]
        lengths[: len(known)] = known
        return np.stack([whole / (total * np.sqrt(0.25 + 0.75 * lengths / usual)), title / total], axis=1)

    def having(self, query: Query, row: int) -> tuple[str, ...]:
        """Those of the query's words that the row has."""
        return tuple(word for word, hash_ in query.items() if hash_ in self._rows and row in self._rows[hash_])


def _move(places: dict[int, BitMap], row: int, before: Sequence[int], after: Sequence[int]) -> None:
    old, new = set(before), set(after)
    for word in old - new:
        rows = places[word]
        rows.discard(row)
        if not rows:
            del places[word]
    for word in new - old:
        places.setdefault(word, BitMap()).add(row)


def _add(to: NDArray[np.float64], rows: BitMap, weight: float) -> None:
    having = np.frombuffer(rows.to_array(), dtype=np.uint32)
    to[having[having < len(to)]] += weight
