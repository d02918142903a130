"""Stores for the contract suites: what opens them, and a product that uses every kind of value."""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType

import numpy as np

from freshet.domain.products import Image, ProductState, Stamped, Version
from freshet.domain.progress import Advance, Position
from freshet.domain.representations import Modality
from freshet.domain.reviews import ReviewSummary, Weighed
from freshet.ports import CatalogRow, CatalogStore, Encoding, ProfileStore, ServingStore

MODEL = "m-2026-11"
TOPIC = "freshet.interactions.v1"


class Backend:
    """Opens stores on one database, and closes them all."""

    def __init__(self, url: str, module: ModuleType) -> None:
        self.url = url
        self._module = module
        self._opened: list[CatalogStore | ProfileStore | ServingStore] = []
        module.migrate(url)

    def catalog(self, model_version: str = MODEL) -> CatalogStore:
        return self._keep(self._module.open_catalog_store(self.url, model_version))

    def profiles(self) -> ProfileStore:
        return self._keep(self._module.open_profile_store(self.url))

    def serving(self) -> ServingStore:
        return self._keep(self._module.open_serving_store(self.url))

    def _keep(self, store):  # type: ignore[no-untyped-def]
        self._opened.append(store)
        return store

    def close(self) -> None:
        for store in self._opened:
            store.close()


def advance(start: int, end: int, *, partition: int = 0, time_us: int = 0, topic: str = TOPIC) -> Advance:
    return Advance(topic, partition, start, end, time_us)


def float16(*shape: int, seed: int = 1) -> np.ndarray:
    values = np.random.default_rng(seed).standard_normal(shape)
    return values.astype(np.float16).astype(np.float32)


def teapot() -> CatalogRow:
    """A product that uses every kind of value, with ids that are not ASCII."""
    v1, v2 = Version(1_790_000_000_000_001, 7), Version(1_790_000_000_000_002, 2**40)
    state = ProductState(
        "чайник-№1 🫖",
        {
            "title": Stamped("Wasserkessel „Émile“ \0 with a NUL", v1),
            "description": Stamped("", v1),
            "categories": Stamped(("Küche", "Kessel"), v2),
            "price": Stamped(0.1 + 0.2, v2),
            "currency": Stamped("EUR", v1),
            "brand": Stamped(None, v2),
            "available": Stamped(False, v2),
            "image": Stamped(Image(content=bytes(range(256)) * 40), v1),
            "attributes": Stamped({"色": "赤", "litres": "1,5"}, v1),
        },
        upserted=v1,
        removed=Version(1, 2),
    )
    return CatalogRow(
        product_id=state.product_id,
        number=1,
        state=state,
        reviews=ReviewSummary(
            (0, 1, 0, 2, 30),
            31,
            Weighed((0, 1_000, 0, 2_000, 2**40), 31_000, float16(256) / np.float32(3), 7, 2**50),
            MODEL,
        ),
        encoding=Encoding(
            MODEL,
            {Modality.TEXT: b"\x00\xffdigest", Modality.IMAGE: b""},
            {Modality.IMAGE: float16(64, seed=2), Modality.TEXT: float16(256, seed=3)},
            float16(416, seed=4),
        ),
        source=Position("freshet.products.v1", 3, 2**41),
        event_time_us=1_790_000_000_000_002,
    )


def assert_same_row(read: CatalogRow, written: CatalogRow) -> None:
    assert read.state == written.state
    for name in ("product_id", "number", "source", "event_time_us"):
        assert getattr(read, name) == getattr(written, name)
    assert (read.reviews.stars, read.reviews.text_count) == (written.reviews.stars, written.reviews.text_count)
    assert read.reviews.model_version == written.reviews.model_version
    assert replace(read.reviews.weighed, text_sum=None) == replace(written.reviews.weighed, text_sum=None)
    np.testing.assert_equal(read.reviews.weighed.text_sum, written.reviews.weighed.text_sum)
    assert (read.encoding is None) == (written.encoding is None)
    if read.encoding is not None and written.encoding is not None:
        assert read.encoding.model_version == written.encoding.model_version
        assert dict(read.encoding.inputs) == dict(written.encoding.inputs)
        assert list(read.encoding.parts) == list(written.encoding.parts)
        for name, part in written.encoding.parts.items():
            np.testing.assert_array_equal(read.encoding.parts[name], part)
        np.testing.assert_array_equal(read.encoding.vector, written.encoding.vector)
        assert read.encoding.vector.dtype == np.float32
