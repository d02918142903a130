"""The catalogue in this process's memory: every product's facts and vector, as freshet.representations.v1 tells them.

May import `codec`-free contract messages, `domain`, `lexicon` and NumPy. One writer, the event loop; a request reads it
between two awaits and so sees one state. 100,000 products of 672 dimensions take 270 MB (float32) and about 60 MB of
facts.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from itertools import takewhile
from typing import NamedTuple, Protocol

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from pyroaring import BitMap

from freshet.domain.progress import Position
from freshet.domain.representations import Layout, Matrix, unpack
from freshet.recommend.lexicon import Lexicon
from freshet.v1 import stream_pb2


class Facts(NamedTuple):
    """What an answer shows of a product."""

    product_id: str
    title: str
    brand: str
    categories: tuple[str, ...]
    price: float | None
    currency: str
    image_uri: str
    review_count: int
    rating: float | None
    review_sentiment: float | None = None


class FeedRecord(Protocol):
    """One record of the topic; freshet.adapters.kafka.ReadRecord is one."""

    @property
    def position(self) -> Position: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...


def _no_facts(product_id: str) -> Facts:
    return Facts(product_id, "", "", (), None, "", "", 0, None)


LOGGED_CHANGES = 2_000
"""So many of the last changes of what lies near what are known one by one."""


class Mirror:
    """Columns by row, a row per product number ever seen. Rows are never moved, so a row stays valid over awaits."""

    def __init__(self, layout: Layout, topic: str, capacity: int = 1024) -> None:
        self.layout = layout
        self.topic = topic
        self.count = 0
        self.positions: dict[int, int] = {}
        """By partition of the topic: the offset after the last record read."""
        self.lexicon = Lexicon()
        self.event_time_us = 0
        self.other_model_records = 0
        self.unreadable_records = 0
        self.changes = 0
        """Grows with every batch that changed something."""
        self.vectors: Matrix = np.zeros((capacity, layout.dimension), np.float32)
        self.numbers = np.zeros(capacity, np.uint32)
        self.live = np.zeros(capacity, np.bool_)
        """Known, not removed and available."""
        self.prices = np.full(capacity, np.nan, np.float64)
        self.brands = np.full(capacity, -1, np.int32)
        self.times = np.zeros(capacity, np.int64)
        """Event time of the row's newest change, microseconds."""
        self.changed_at = np.zeros(capacity, np.int64)
        """The value `changes` had once the row's last change was in."""
        self._moved_at = 0
        """The highest value in `changed_at`."""
        self.logged_since = 0
        """`changed_since` knows everything after this value of `changes`."""
        self._log: deque[tuple[int, int]] = deque(maxlen=LOGGED_CHANGES)
        self._partitions = np.zeros(capacity, np.int32)
        self._offsets = np.full(capacity, -1, np.int64)
        self._removed = np.zeros(capacity, np.bool_)
        self._facts: list[Facts] = []
        self._row_of_number = np.full(capacity, -1, np.int32)
        self._row_of_id: dict[str, int] = {}
        self._brand_codes: dict[str, int] = {}
        self._category_rows: dict[str, BitMap] = {}
        self._unsettled: dict[int, None] = {}
        self._unsettled_rows: NDArray[np.intp] | None = None
        self._ends: dict[int, int] = {}
        self._behind: set[int] = set()
        self._end_known = False
        self.filled = asyncio.Event()
        """Set for good once everything that was there at the start has been read."""

    # --- writing

    def expect(self, ends: Mapping[int, int]) -> None:
        """What the topic held when the reader began: having read it all is being caught up."""
        self._ends = dict(ends)
        self._end_known = True
        self._check_filled()

    @property
    def caught_up(self) -> bool:
        """Whether everything that was there at the start has been read."""
        if not self._end_known:
            return False
        return all(self.positions.get(partition, 0) >= end for partition, end in self._ends.items())

    def apply(self, records: Iterable[FeedRecord]) -> None:
        """Take records in. Per product the highest offset wins; a record read again changes nothing."""
        for record in records:
            partition, offset = record.position.partition, record.position.offset
            self.positions[partition] = max(self.positions.get(partition, 0), offset + 1)
            if record.value is None:
                self._remove_by_key(record.key, partition, offset)
                continue
            try:
                message = stream_pb2.Representation.FromString(record.value)
            except DecodeError:
                self.unreadable_records += 1
                continue
            self._take(message, partition, offset)
        self.changes += 1
        self._check_filled()

    def _check_filled(self) -> None:
        if not self.filled.is_set() and self.caught_up:
            self.filled.set()

    def _take(self, message: stream_pb2.Representation, partition: int, offset: int) -> None:
        if message.model_version != self.layout.model_version:
            self.other_model_records += 1
            return
        if len(message.vector) not in (0, 2 * self.layout.dimension) or message.product_number == 0:
            self.unreadable_records += 1
            return
        row = self._row(message.product_number, message.product_id)
        if offset <= self._offsets[row] and partition == self._partitions[row]:
            return
        self._partitions[row], self._offsets[row] = partition, offset
        time_us = message.event_time.seconds * 1_000_000 + message.event_time.nanos // 1_000
        self.times[row] = time_us
        self.event_time_us = max(self.event_time_us, time_us)
        if message.removed:
            self._clear(row)
            self._unsettle(row)
            return
        vector = unpack(message.vector) if message.vector else np.zeros(1, np.float32)
        back = message.available and not self.live[row]
        if back or self._removed[row] or (self.vectors[row] != vector).any():
            # A new stock or title alone moves nothing: what was found near others stays true.
            self._unsettle(row)
        self.vectors[row] = vector
        self._set_facts(row, message)
        self.live[row] = message.available
        self._removed[row] = False

    def _set_facts(self, row: int, message: stream_pb2.Representation) -> None:
        price = message.price if message.HasField("price") else None
        facts = Facts(
            message.product_id,
            message.title,
            message.brand,
            tuple(message.categories),
            price,
            message.currency,
            message.image_uri,
            message.review_count,
            message.rating if message.HasField("rating") else None,
            message.review_sentiment if message.HasField("review_sentiment") else None,
        )
        before = self._facts[row]
        if before.categories != facts.categories:
            self._recategorise(row, before.categories, facts.categories)
        self.lexicon.change(row, message.words, message.title_words)
        self._facts[row] = facts
        self.prices[row] = np.nan if price is None else price
        self.brands[row] = self._brand_codes.setdefault(facts.brand, len(self._brand_codes)) if facts.brand else -1

    def _recategorise(self, row: int, before: Sequence[str], after: Sequence[str]) -> None:
        for category in before:
            self._category_rows[category].discard(row)
        for category in after:
            self._category_rows.setdefault(category, BitMap()).add(row)

    def _remove_by_key(self, key: bytes | None, partition: int, offset: int) -> None:
        row = self._row_of_id.get(key.decode("utf-8", "replace")) if key else None
        if row is not None and not (offset <= self._offsets[row] and partition == self._partitions[row]):
            self._partitions[row], self._offsets[row] = partition, offset
            self._clear(row)
            self._unsettle(row)

    def _clear(self, row: int) -> None:
        before = self._facts[row]
        self._recategorise(row, before.categories, ())
        self.lexicon.change(row, (), 0)
        self._facts[row] = _no_facts(before.product_id)
        self.live[row] = False
        self._removed[row] = True
        self.vectors[row] = 0.0
        self.prices[row], self.brands[row] = np.nan, -1

    def _row(self, number: int, product_id: str) -> int:
        if number < len(self._row_of_number) and (row := int(self._row_of_number[number])) >= 0:
            return row
        if number >= len(self._row_of_number):
            larger = np.full(max(number + 1, 2 * len(self._row_of_number)), -1, np.int32)
            larger[: len(self._row_of_number)] = self._row_of_number
            self._row_of_number = larger
        if self.count == len(self.numbers):
            self._grow()
        row = self.count
        self.count += 1
        self.numbers[row] = number
        self._row_of_number[number] = row
        self._row_of_id[product_id] = row
        self._facts.append(_no_facts(product_id))
        return row

    def _grow(self) -> None:
        capacity = 2 * len(self.numbers)
        for name, empty in (
            ("vectors", 0), ("numbers", 0), ("live", 0), ("prices", np.nan),
            ("brands", -1), ("times", 0), ("changed_at", 0), ("_partitions", 0), ("_offsets", -1), ("_removed", 0),
        ):  # fmt: skip
            column: NDArray[np.generic] = getattr(self, name)
            larger = np.full((capacity, *column.shape[1:]), empty, column.dtype)
            larger[: self.count] = column[: self.count]
            setattr(self, name, larger)

    # --- what the index does not show yet

    def _unsettle(self, row: int) -> None:
        self.changed_at[row] = self._moved_at = self.changes + 1
        if len(self._log) == LOGGED_CHANGES:
            self.logged_since = self._log[0][0]
        self._log.append((self.changes + 1, row))
        self._unsettled[row] = None
        self._unsettled_rows = None

    def settle(self, applied: Mapping[int, int]) -> None:
        """The index shows everything below these offsets, by partition: such rows are fresh no more."""
        if not self._unsettled:
            return
        rows = self.unsettled()
        bounds = np.full(max([*applied, *self.positions, 0]) + 1, 0, np.int64)
        for partition, offset in applied.items():
            bounds[partition] = offset
        settled = rows[self._offsets[rows] < bounds[self._partitions[rows]]]
        if len(settled):
            for row in settled.tolist():
                del self._unsettled[row]
            self._unsettled_rows = None

    def changed_since(self, change: int) -> NDArray[np.intp]:
        """Rows that changed after this value of `changes`, which is not below `logged_since`."""
        rows = {row for at, row in takewhile(lambda entry: entry[0] > change, reversed(self._log))}
        return np.fromiter(rows, np.intp, len(rows))

    def unmoved(self, rows: NDArray[np.integer], change: int) -> NDArray[np.bool_]:
        """Which of these rows have not changed after this value of `changes`."""
        if self._moved_at <= change:
            return np.ones(len(rows), np.bool_)
        still: NDArray[np.bool_] = self.changed_at[rows] <= change
        return still

    def unsettled(self) -> NDArray[np.intp]:
        """Rows that changed after what the index is known to show."""
        if self._unsettled_rows is None:
            self._unsettled_rows = np.fromiter(self._unsettled, np.intp, len(self._unsettled))
        return self._unsettled_rows

    # --- reading

    def row_of(self, product_id: str) -> int | None:
        """The row of a product, or None when this process has never read of it."""
        return self._row_of_id.get(product_id)

    def rows_of(self, numbers: NDArray[np.generic]) -> NDArray[np.intp]:
        """Rows of product numbers, -1 where unknown; same shape."""
        wanted = numbers.astype(np.int64)
        known = (wanted >= 0) & (wanted < len(self._row_of_number))
        return np.where(known, self._row_of_number[np.where(known, wanted, 0)], -1).astype(np.intp)

    def facts(self, row: int) -> Facts:
        return self._facts[row]

    def brand_codes(self, brands: Iterable[str]) -> list[int]:
        """The codes of those brands that any product has."""
        return [self._brand_codes[brand] for brand in brands if brand in self._brand_codes]

    def category_rows(self, categories: Iterable[str]) -> NDArray[np.intp]:
        """Rows that have any of these categories."""
        known = [self._category_rows[category] for category in categories if category in self._category_rows]
        return np.array(BitMap.union(*known), dtype=np.intp) if known else np.empty(0, np.intp)

    def known(self, row: int) -> bool:
        """Whether the product is in the catalogue: read of, and not removed since."""
        return not self._removed[row]

    def newest(self, allowed: NDArray[np.bool_], limit: int) -> NDArray[np.intp]:
        """Rows of this mask by event time, newest first."""
        rows = np.flatnonzero(allowed)
        return rows[np.argsort(-self.times[rows], kind="stable")[:limit]]
