"""Stores in this process for ``memory://NAME``; those of one name share one state. Imports domain, ports and errors.

For tests and for trying things out: nothing outlives the process.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from threading import RLock

import numpy as np
from numpy.typing import NDArray

from freshet.domain import covisits
from freshet.domain.products import live
from freshet.domain.progress import Advance, Progress, Published
from freshet.domain.representations import Matrix, pack, unpack
from freshet.domain.reviews import StoredReview, Window
from freshet.errors import ProgressConflict
from freshet.ports import BehaviourRow, CatalogRow, Encoding, ProfileRow


@dataclass
class _State:
    turn: RLock = field(default_factory=RLock)
    commits: int = 0
    numbers: dict[str, int] = field(default_factory=dict)
    products: dict[str, CatalogRow] = field(default_factory=dict)
    encodings: dict[tuple[str, str], Encoding] = field(default_factory=dict)
    reviews: dict[str, StoredReview] = field(default_factory=dict)
    profiles: dict[str, ProfileRow] = field(default_factory=dict)
    behaviour: dict[tuple[int, int], BehaviourRow] = field(default_factory=dict)
    applied: dict[str, dict[tuple[str, int], Progress]] = field(default_factory=dict)
    published: dict[tuple[str, int], Published] = field(default_factory=dict)


_STATES: dict[str, _State] = {}
_OPENING = RLock()


def open_catalog_store(url: str, model_version: str) -> MemoryCatalogStore:
    return MemoryCatalogStore(_state(url), model_version)


def open_profile_store(url: str) -> MemoryProfileStore:
    return MemoryProfileStore(_state(url))


def open_serving_store(url: str) -> MemoryServingStore:
    return MemoryServingStore(_state(url))


def migrate(url: str) -> None:
    """Nothing to do: a name's state begins empty."""


class _Store:
    embedded = True

    def __init__(self, state: _State) -> None:
        self._state = state

    def progress(self, worker: str) -> Mapping[tuple[str, int], Progress]:
        with self._state.turn:
            return dict(self._state.applied.get(worker, {}))

    def close(self) -> None:
        """Leaves the state to the other stores of this name."""


class _WorkerStore(_Store):
    def product_numbers(self, product_ids: Sequence[str]) -> dict[str, int]:
        with self._state.turn:
            numbers = self._state.numbers
            return {id_: numbers.setdefault(id_, len(numbers) + 1) for id_ in product_ids}

    def _advance(self, worker: str, advances: Sequence[Advance]) -> None:
        """All or none; the caller holds the turn, and writes nothing before."""
        applied = dict(self._state.applied.get(worker, {}))
        for step in sorted(advances, key=lambda step: (step.topic, step.partition, step.from_offset)):
            known = applied.get((step.topic, step.partition))
            if known is not None and known.next_offset != step.from_offset:
                raise ProgressConflict(
                    f"Worker {worker!r} wanted to go on at offset {step.from_offset} of {step.topic}/{step.partition}, "
                    f"and the store is at {known.next_offset}: another has applied records of this partition"
                )
            time_us = max(step.event_time_us, known.event_time_us) if known else step.event_time_us
            applied[step.topic, step.partition] = Progress(step.topic, step.partition, step.next_offset, time_us)
        self._state.applied[worker] = applied
        self._state.commits += 1


class MemoryCatalogStore(_WorkerStore):
    """Port CatalogStore. Vectors are rounded to float16, as the other stores round them."""

    def __init__(self, state: _State, model_version: str) -> None:
        super().__init__(state)
        self._model_version = model_version

    def load(self, product_ids: Sequence[str]) -> dict[str, CatalogRow]:
        with self._state.turn:
            return {
                id_: replace(row, encoding=self._state.encodings.get((id_, self._model_version)))
                for id_ in product_ids
                if (row := self._state.products.get(id_)) is not None
            }

    def load_reviews(self, review_ids: Sequence[str]) -> dict[str, StoredReview]:
        with self._state.turn:
            return {id_: self._state.reviews[id_] for id_ in review_ids if id_ in self._state.reviews}

    def load_windows(self, windows: Sequence[Window], most: int) -> dict[Window, list[StoredReview]]:
        found: dict[Window, list[StoredReview]] = {window: [] for window in windows}
        with self._state.turn:
            for _, review in sorted(self._state.reviews.items()):
                if len(found.get(review.window, range(most))) < most:
                    found[review.window].append(review)
        return found

    def reviews_of(self, product_id: str, after: tuple[int, str], limit: int) -> list[StoredReview]:
        with self._state.turn:
            listed = [review for review in self._state.reviews.values() if review.product_id == product_id]
        places = sorted((review.version.event_time_us, review.review_id, i) for i, review in enumerate(listed))
        return [listed[i] for time_us, id_, i in places if (time_us, id_) > after][:limit]

    def rewrite_reviews(self, reviews: Sequence[StoredReview]) -> None:
        with self._state.turn:
            self._state.reviews.update((review.review_id, review) for review in reviews)
            self._state.commits += 1

    def apply(
        self,
        worker: str,
        rows: Sequence[CatalogRow],
        reviews: Sequence[StoredReview],
        advances: Sequence[Advance],
    ) -> None:
        with self._state.turn:
            self._advance(worker, advances)
            for row in rows:
                self._state.products[row.product_id] = replace(row, encoding=None)
                if row.encoding is not None:
                    self._state.encodings[row.product_id, row.encoding.model_version] = _rounded(row.encoding)
            self._state.reviews.update((review.review_id, review) for review in reviews)

    def note_published(self, published: Mapping[tuple[str, int], Published]) -> None:
        with self._state.turn:
            known = self._state.published
            for place, new in published.items():
                known[place] = known[place].joined(new) if place in known else new
            self._state.commits += 1

    def product_ids(self, after: str, limit: int) -> list[str]:
        with self._state.turn:
            known = sorted(self._state.products)
            start = bisect_right(known, after)
            return known[start : start + limit]

    def vectors(self, after: str, limit: int) -> tuple[list[str], Matrix]:
        with self._state.turn:
            known = sorted(
                product_id
                for product_id, version in self._state.encodings
                if version == self._model_version and live(self._state.products[product_id].state)
            )
            start = bisect_right(known, after)
            ids = known[start : start + limit]
            found = [self._state.encodings[product_id, self._model_version].vector for product_id in ids]
        return ids, np.stack(found) if found else np.empty((0, 0), np.float32)

    def encodings(self, product_id: str) -> list[Encoding]:
        with self._state.turn:
            return [encoding for (id_, _), encoding in sorted(self._state.encodings.items()) if id_ == product_id]


class MemoryProfileStore(_WorkerStore):
    """Port ProfileStore."""

    def load_profiles(self, user_ids: Sequence[str]) -> dict[str, bytes]:
        with self._state.turn:
            return {id_: self._state.profiles[id_].data for id_ in user_ids if id_ in self._state.profiles}

    def load_behaviour(self, numbers: Sequence[int], lane: int = 0) -> dict[int, bytes]:
        with self._state.turn:
            kept = self._state.behaviour
            return {number: kept[number, lane].data for number in numbers if (number, lane) in kept}

    def apply(
        self,
        worker: str,
        profiles: Sequence[ProfileRow],
        behaviour: Sequence[BehaviourRow],
        advances: Sequence[Advance],
    ) -> None:
        with self._state.turn:
            self._advance(worker, advances)
            self._state.profiles.update((row.user_id, row) for row in profiles)
            self._state.behaviour.update(((row.number, row.lane), row) for row in behaviour)


class MemoryServingStore(_Store):
    """Port ServingStore."""

    def change_counter(self) -> int:
        return self._state.commits

    def published(self) -> Mapping[tuple[str, int], Published]:
        with self._state.turn:
            return dict(self._state.published)

    def profile(self, user_id: str) -> bytes | None:
        with self._state.turn:
            row = self._state.profiles.get(user_id)
        return row.data if row is not None else None

    def numbered(self, numbers: Sequence[int]) -> dict[int, str]:
        wanted = set(numbers)
        with self._state.turn:
            return {number: id_ for id_, number in self._state.numbers.items() if number in wanted}

    def behaviour(self, numbers: Sequence[int]) -> dict[int, list[bytes]]:
        wanted, parts = set(numbers), defaultdict(list)
        with self._state.turn:
            for (number, _), row in sorted(self._state.behaviour.items()):
                if number in wanted:
                    parts[number].append(row.data)
        return dict(parts)

    def trending(self, limit: int) -> list[tuple[int, float]]:
        with self._state.turn:
            return covisits.summed_trends([(row.number, row.trend) for row in self._state.behaviour.values()], limit)

    def chosen(self, after: int, limit: int) -> NDArray[np.int64]:
        with self._state.turn:
            numbers = sorted({number for number, _ in self._state.behaviour if number > after})
        return np.array(numbers[:limit], dtype=np.int64)


def _state(url: str) -> _State:
    with _OPENING:
        return _STATES.setdefault(url, _State())


def _rounded(encoding: Encoding) -> Encoding:
    parts = {name: unpack(pack(part)) for name, part in encoding.parts.items()}
    return replace(encoding, parts=parts, vector=unpack(pack(encoding.vector)))
