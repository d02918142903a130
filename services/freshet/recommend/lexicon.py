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
from freshet.representation.preprocessing import words

QUERY_WORDS = 64
"""So many distinct words of a query are looked up."""
GATHERED = 100_000
"""Pairs of a word and a new row that wait at most to be put in together."""

Query = Mapping[str, int]
"""A query's words with their hashes."""
Hashes = NDArray[np.uint32]


def distinct(text: str) -> Query:
    """The words of a query, each once, in order."""
    return {word: xxhash.xxh32_intdigest(word.encode()) for word in words(text, QUERY_WORDS)}


class Postings:
    """The rows that have a word. New rows are gathered: a catalogue is read in a third of the time."""

    def __init__(self) -> None:
        self._rows: dict[int, BitMap] = {}
        self._new: list[tuple[int, Hashes]] = []
        self._gathered = 0

    def __len__(self) -> int:
        self._settle()
        return len(self._rows)

    def get(self, word: int) -> BitMap | None:
        self._settle()
        return self._rows.get(word)

    def change(self, row: int, before: Hashes, after: Hashes) -> None:
        if len(before):
            self._settle()
            self._move(row, set(before.tolist()), set(after.tolist()))
        elif len(after):
            self._new.append((row, after))
            self._gathered += len(after)
            if self._gathered > GATHERED:
                self._settle()

    def _move(self, row: int, before: set[int], after: set[int]) -> None:
        for word in before - after:
            self._rows[word].discard(row)
            if not self._rows[word]:
                del self._rows[word]
        for word in after - before:
            self._rows.setdefault(word, BitMap()).add(row)

    def _settle(self) -> None:
        if not self._new:
            return
        found = np.concatenate([hashes for _, hashes in self._new])
        rows = np.repeat([row for row, _ in self._new], [len(hashes) for _, hashes in self._new])
        order = np.argsort(found, kind="stable")
        found, rows = found[order], rows[order]
        starts = np.flatnonzero(np.diff(found, prepend=found[:1] + 1)).tolist()
        for start, end in zip(starts, [*starts[1:], len(found)], strict=True):
            self._rows.setdefault(int(found[start]), BitMap()).update(rows[start:end].tolist())
        self._new.clear()
        self._gathered = 0


class Lexicon:
    """Words to rows of the mirror, kept by it: those of whole texts, and those of titles."""

    def __init__(self) -> None:
        self._whole, self._titles = Postings(), Postings()
        self._texts: list[bytes] = []
        self._counts = np.zeros((1_024, 2), np.uint16)
        """Distinct words of a row's text, and how many of them, the first, are its title's."""
        self._words = self._products = 0

    def __len__(self) -> int:
        return len(self._whole)

    def change(self, row: int, hashes: Sequence[int], title_words: int) -> None:
        """The row's text has these words now, the first `title_words` of them in its title; none takes it out."""
        while len(self._texts) <= row:
            self._texts.append(b"")
        while row >= len(self._counts):
            self._counts = np.concatenate([self._counts, np.zeros_like(self._counts)])
        after, titled = np.array(hashes, np.uint32), int(self._counts[row, 1])
        packed = after.tobytes()
        if titled == title_words and packed == self._texts[row]:
            return
        before = np.frombuffer(self._texts[row], np.uint32)
        self._whole.change(row, before, after)
        self._titles.change(row, before[:titled], after[:title_words])
        self._words += len(after) - len(before)
        self._products += bool(len(after)) - bool(len(before))
        self._texts[row], self._counts[row] = packed, (len(after), title_words)

    def shares(self, query: Query, count: int) -> NDArray[np.float64]:
        """The shares of the query's words that each of the first `count` rows has, (count, 2): in its text, its title.

        Each word weighs its inverse document frequency. A long text has many words by chance: its share is divided by
        BM25's length norm to the power of a half, which is at most 2. A word that nothing has does not count.
        """
        whole, title = np.zeros(count), np.zeros(count)
        total = 0.0
        for word in query.values():
            if (rows := self._whole.get(word)) is None:
                continue
            weight = rarity(self._products, len(rows))
            total += weight
            _add(whole, rows, weight)
            if (rows := self._titles.get(word)) is not None:
                _add(title, rows, weight)
        found = np.zeros((count, 2))
        having = np.flatnonzero(whole)
        if len(having):
            usual = self._words / self._products
            found[having, 0] = whole[having] / (total * np.sqrt(0.25 + 0.75 * self._counts[having, 0] / usual))
            found[having, 1] = title[having] / total
        return found

    def having(self, query: Query, row: int) -> tuple[str, ...]:
        """Those of the query's words that the row has."""
        return tuple(word for word, hash_ in query.items() if row in (self._whole.get(hash_) or ()))


def _add(to: NDArray[np.float64], rows: BitMap, weight: float) -> None:
    having = np.frombuffer(rows.to_array(), dtype=np.uint32)
    to[having[having < len(to)]] += weight
