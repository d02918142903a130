"""What the rooms need of the outside, as Protocols. tests/contract holds every adapter to them.

Store methods block and are short; asynchronous callers run them in a thread unless `embedded` says that the store is a
library in this process, where a call costs less than the hop. Everything may raise DependencyDown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from freshet.domain.products import ProductState
from freshet.domain.progress import Advance, Position, Progress, Published
from freshet.domain.representations import Layout, Matrix, Modality, Vector
from freshet.domain.reviews import ReviewSummary, StoredReview, Window


@dataclass(frozen=True, slots=True)
class Encoding:
    """What one model version made of one product.

    `inputs` holds, per modality, a digest of what its encoder was given: the same digest needs no new call.
    `parts` are the encoders' outputs before fusion; `vector` is the whole, float32 of shape (dimension,).
    """

    model_version: str
    inputs: Mapping[Modality, bytes]
    parts: Mapping[Modality, Vector]
    vector: Vector


@dataclass(frozen=True, slots=True)
class CatalogRow:
    """Everything kept of one product. `number` is assigned by the store and never changes."""

    product_id: str
    number: int
    state: ProductState
    reviews: ReviewSummary = field(default_factory=ReviewSummary)
    encoding: Encoding | None = None
    source: Position | None = None
    event_time_us: int = 0


@dataclass(frozen=True, slots=True)
class ProfileRow:
    """One shopper: `data` is what freshet.domain.profiles encodes."""

    user_id: str
    data: bytes
    event_time_us: int


@dataclass(frozen=True, slots=True)
class BehaviourRow:
    """What people did with one product: `data` is what freshet.domain.covisits encodes.

    `trend` is log2(decayed weight) + time / half-life: it orders products by their weight at any moment.
    `lane` is whose count it is: every profile worker counts in a lane of its own, and readers add the lanes up.
    """

    number: int
    trend: float
    data: bytes
    lane: int = 0


class ProgressStore(Protocol):
    """What every store of a worker offers."""

    embedded: bool

    def progress(self, worker: str) -> Mapping[tuple[str, int], Progress]:
        """How far this worker has come, by (topic, partition); a partition never written is absent."""
        ...

    def product_numbers(self, product_ids: Sequence[str]) -> dict[str, int]:
        """The number of each product, assigned on first sight (1, 2, 3 …) in a transaction of its own."""
        ...

    def close(self) -> None: ...


class CatalogStore(ProgressStore, Protocol):
    """The catalogue worker's state."""

    def load(self, product_ids: Sequence[str]) -> dict[str, CatalogRow]:
        """Rows of the known ones among these. `encoding` is that of `model_version` given at construction, if any."""
        ...

    def load_reviews(self, review_ids: Sequence[str]) -> dict[str, StoredReview]: ...

    def load_windows(self, windows: Sequence[Window], most: int) -> dict[Window, list[StoredReview]]:
        """The reviews of each window, at most so many: those with the smallest ids."""
        ...

    def reviews_of(self, product_id: str, after: tuple[int, str], limit: int) -> list[StoredReview]:
        """A product's reviews after (event time in microseconds, review id), in that order."""
        ...

    def rewrite_reviews(self, reviews: Sequence[StoredReview]) -> None:
        """Keep what another model makes of these reviews, in a transaction of its own: it moves no offset."""
        ...

    def apply(
        self,
        worker: str,
        rows: Sequence[CatalogRow],
        reviews: Sequence[StoredReview],
        advances: Sequence[Advance],
    ) -> None:
        """One transaction. Raises ProgressConflict, and writes nothing, when an advance does not fit."""
        ...

    def note_published(self, published: Mapping[tuple[str, int], Published]) -> None:
        """Join this to what is known by (topic, partition), in a transaction of its own: it follows publishing."""
        ...

    def product_ids(self, after: str, limit: int) -> list[str]:
        """Known products in order of id, for listings and replays."""
        ...

    def vectors(self, after: str, limit: int) -> tuple[list[str], Matrix]:
        """Products that were not removed and have a vector of `model_version`, in order of id; (products, dimension).

        Both empty where there are none after `after`.
        """
        ...

    def encodings(self, product_id: str) -> list[Encoding]:
        """What each model version that is stored made of one product, in order of version."""
        ...


class ProfileStore(ProgressStore, Protocol):
    """The profile worker's state."""

    def load_profiles(self, user_ids: Sequence[str]) -> dict[str, bytes]: ...

    def load_behaviour(self, numbers: Sequence[int], lane: int = 0) -> dict[int, bytes]:
        """What was counted in one lane."""
        ...

    def apply(
        self,
        worker: str,
        profiles: Sequence[ProfileRow],
        behaviour: Sequence[BehaviourRow],
        advances: Sequence[Advance],
    ) -> None:
        """One transaction. Raises ProgressConflict, and writes nothing, when an advance does not fit."""
        ...


class ServingStore(Protocol):
    """What an answer reads. Never writes."""

    embedded: bool

    def change_counter(self) -> int:
        """A number that differs after any commit by another connection; cheap enough to ask every millisecond."""
        ...

    def progress(self, worker: str) -> Mapping[tuple[str, int], Progress]: ...

    def published(self) -> Mapping[tuple[str, int], Published]:
        """What the catalogue worker has published, by (topic, partition) of the records that caused it."""
        ...

    def profile(self, user_id: str) -> bytes | None: ...

    def numbered(self, numbers: Sequence[int]) -> dict[int, str]:
        """The ids of the products that have these numbers."""
        ...

    def behaviour(self, numbers: Sequence[int]) -> dict[int, list[bytes]]:
        """What was counted of each product, a part per lane: freshet.domain.covisits.strongest adds them up."""
        ...

    def trending(self, limit: int) -> list[tuple[int, float]]:
        """(product number, trend) of the products with the highest trend, highest first."""
        ...

    def chosen(self, after: int, limit: int) -> NDArray[np.int64]:
        """Numbers above `after` of products that anybody did something with: the `limit` lowest, ascending."""
        ...

    def close(self) -> None: ...


class VectorIndex(Protocol):
    """Approximate nearest neighbours by inner product, keyed by product number; one collection per model version.

    Vectors and queries are whole; an index holds and compares the dimensions that `Layout.searched` counts.
    """

    async def ensure(self) -> None:
        """Create and load this layout's collection where it is absent, and point the alias at it when none is set."""
        ...

    async def activate(self) -> None:
        """Point the alias at this layout's collection."""
        ...

    async def upsert(self, numbers: NDArray[np.int64], vectors: Matrix) -> None:
        """Insert or replace. Numbers are distinct within a call."""
        ...

    async def delete(self, numbers: NDArray[np.int64]) -> None: ...

    async def search(
        self, queries: Matrix, limit: int, timeout_seconds: float
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Numbers and scores, each of shape (queries, limit), best first; -1 where there are fewer."""
        ...

    async def count(self) -> int: ...

    async def close(self) -> None: ...


class QueryEncoders(Protocol):
    """The part of the model that reads what somebody searches for."""

    layout: Layout

    async def encode(self, modality: Modality, inputs: Mapping[str, NDArray[np.generic]]) -> Matrix:
        """As `Encoders.encode`."""
        ...

    async def caption(self, texts: Matrix) -> Matrix:
        """Where pictures of what texts say would lie: from learned text vectors (rows, text) to (rows, image)."""
        ...

    async def canary(self) -> None:
        """As `Encoders.canary`."""
        ...

    async def close(self) -> None: ...


class Encoders(Protocol):
    """The model that Triton hosts: one encoder per modality, and their fusion."""

    layout: Layout

    async def encode(self, modality: Modality, inputs: Mapping[str, NDArray[np.generic]]) -> Matrix:
        """One vector per row of `inputs`, whose names, dtypes and shapes freshet.representation.preprocessing makes."""
        ...

    async def sentiment(self, inputs: Mapping[str, NDArray[np.generic]]) -> NDArray[np.float32] | None:
        """How well each text speaks, 0 to 1, float32 (rows,); None where the model has no judge of it.

        freshet.representation.opinions makes `inputs`.
        """
        ...

    async def fuse(self, parts: Mapping[Modality, Matrix], present: NDArray[np.bool_]) -> Matrix:
        """Whole vectors of shape (rows, dimension). `present` has a column per encoder modality, in layout order."""
        ...

    async def canary(self) -> None:
        """Encode golden inputs and compare. Raises DependencyDown, or ModelMismatch when the answer is another."""
        ...

    async def close(self) -> None: ...
