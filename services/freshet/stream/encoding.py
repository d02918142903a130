"""From a product's facts to its vector, calling only the encoders whose input changed. May import `ports` and below."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
import xxhash
from numpy.typing import NDArray
from prometheus_client import Counter

from freshet.domain import products
from freshet.domain.products import Image, Product
from freshet.domain.representations import Modality, Vector
from freshet.domain.reviews import UNIT, StoredReview
from freshet.errors import ImageRejected
from freshet.ports import CatalogRow, Encoders, Encoding
from freshet.representation import preprocessing as pre
from freshet.representation.manifest import ENCODED, SENTIMENT, Manifest
from freshet.representation.opinions import opinion_inputs

CALLS = Counter("freshet_encoder_calls", "Calls of an encoder.", ["modality"])
ROWS = Counter("freshet_encoder_rows", "Products given to an encoder.", ["modality"])
UNCHANGED = Counter(
    "freshet_encoder_unchanged", "Products whose input was the same, so that no encoder ran.", ["modality"]
)
TEXTS_CUT = Counter("freshet_texts_cut", "Texts longer than the words that are read.")
_FUSION = "fusion"
DECODED = 16
"""Pictures that a thread decodes at a time."""


class Pictures(Protocol):
    """Where a picture's bytes come from."""

    async def load(self, image: Image) -> bytes:
        """Raises ImageRejected."""
        ...


@dataclass(frozen=True, slots=True)
class Encoded:
    """A row with its encoding as it should be now, its product, and what was wrong with its picture, if anything.

    `product` is None where the row's product is not live.
    """

    row: CatalogRow
    product: Product | None = None
    rejected: ImageRejected | None = None


@dataclass(slots=True)
class _Work:
    """One product on its way through."""

    row: CatalogRow
    product: Product
    text: str
    inputs: dict[Modality, bytes]
    parts: dict[Modality, Vector]
    changed: set[Modality] = field(default_factory=set)
    pixels: NDArray[np.uint8] | None = None
    rejected: ImageRejected | None = None


class ProductEncoder:
    """Keeps rows' encodings those of one model version."""

    def __init__(self, encoders: Encoders, manifest: Manifest, pictures: Pictures) -> None:
        self._encoders, self._manifest, self._pictures = encoders, manifest, pictures
        self._layout, self._read_texts = manifest.layout, manifest.text_reader()
        self._attention = manifest.attention()
        self._decoding = ThreadPoolExecutor(max_workers=2, thread_name_prefix="picture")
        self._fetching = asyncio.Semaphore(16)

    @property
    def model_version(self) -> str:
        return self._layout.model_version

    async def reviews(self, listed: Sequence[StoredReview]) -> list[StoredReview]:
        """The same reviews with what this model makes of their texts. Raises DependencyDown."""
        wordy = [review.text for review in listed if review.text.strip()]
        vectors, judged = iter(await self._texts(wordy)), None
        if wordy:
            CALLS.labels(SENTIMENT).inc()
            ROWS.labels(SENTIMENT).inc(len(wordy))
            judged = await self._encoders.sentiment(opinion_inputs(wordy))
        scores = iter([None] * len(wordy) if judged is None else [round(UNIT * score) for score in judged.tolist()])
        return [
            replace(
                review,
                text_vector=next(vectors) if review.text.strip() else None,
                sentiment=next(scores) if review.text.strip() else None,
                model_version=self.model_version,
            )
            for review in listed
        ]

    async def _texts(self, texts: Sequence[str]) -> Sequence[Vector]:
        """What is summed of reviews' texts, one vector per text. Raises DependencyDown."""
        if not texts:
            return []
        CALLS.labels(Modality.TEXT).inc()
        ROWS.labels(Modality.TEXT).inc(len(texts))
        encoded = await self._encoders.encode(Modality.TEXT, self._read_texts(texts))
        return list(pre.review_vectors(np.asarray(encoded), self._manifest.size(Modality.TEXT), self._attention))

    async def encode(self, rows: Sequence[CatalogRow]) -> list[Encoded]:
        """The rows of live products, each with a whole encoding. Raises DependencyDown."""
        works = [self._begin(row) for row in rows]
        for modality in ENCODED:
            UNCHANGED.labels(modality).inc(sum(modality not in work.changed for work in works))
        await self._read_pictures([work for work in works if Modality.IMAGE in work.changed])
        await asyncio.gather(*(self._encode_modality(modality, works) for modality in ENCODED))
        fused = [work for work in works if work.changed or work.row.encoding is None]
        vectors = await self._fuse(fused)
        whole = dict(zip(map(id, fused), vectors, strict=True))
        return [self._end(work, whole.get(id(work))) for work in works]

    def _begin(self, row: CatalogRow) -> _Work:
        product = products.product(row.state)
        kept = row.encoding
        if kept is not None and kept.model_version != self._manifest.model_version:
            kept = None
        text = pre.product_text(product)
        inputs = self._digests(row, product, text)
        before: Mapping[Modality, bytes] = kept.inputs if kept is not None else {}
        work = _Work(row, product, text, inputs, dict(kept.parts) if kept is not None else {})
        for modality in ENCODED:
            if inputs.get(modality) == before.get(modality):
                continue
            if modality is Modality.IMAGE and before.get(modality) == self._failed(row, inputs.get(modality, b"")):
                # Its picture could not be had; only an event that names the picture again is reason to try again.
                work.inputs[modality] = before[modality]
                continue
            work.changed.add(modality)
            work.parts.pop(modality, None)
        return work

    def _digests(self, row: CatalogRow, product: Product, text: str) -> dict[Modality, bytes]:
        """What each encoder would be given, as a digest; absent modalities are left out."""
        found: dict[Modality, bytes] = {}
        if text:
            found[Modality.TEXT] = _digest(text.encode())
        if product.image is not None:
            found[Modality.IMAGE] = _digest(product.image.uri.encode() + b"\0" + product.image.content)
        if product.price is not None:
            found[Modality.PRICE] = _digest(repr((product.price, product.categories)).encode())
        if row.reviews.count:
            weighed = row.reviews.weighed
            total = b"" if weighed.text_sum is None else weighed.text_sum.astype("<f4").tobytes()
            found[Modality.REVIEWS] = _digest(repr((weighed.stars, weighed.text)).encode() + total)
        return found

    @staticmethod
    def _failed(row: CatalogRow, digest: bytes) -> bytes:
        """What stands for a picture that could not be had, in the version of the event that named it."""
        stamped = row.state.fields.get("image")
        return b"failed" + digest + (repr(tuple(stamped.version)).encode() if stamped is not None else b"")

    async def _read_pictures(self, works: Sequence[_Work]) -> None:
        """Give every work its picture's pixels, or note why it has none."""
        loop = asyncio.get_running_loop()

        async def read(group: Sequence[_Work]) -> None:
            contents = await asyncio.gather(*map(self._content, group))
            loaded = [(work, content) for work, content in zip(group, contents, strict=True) if content is not None]
            decoded = await loop.run_in_executor(self._decoding, _pixels, [content for _, content in loaded])
            for (work, _), pixels in zip(loaded, decoded, strict=True):
                if isinstance(pixels, ImageRejected):
                    self._reject(work, pixels)
                else:
                    work.pixels = pixels

        await asyncio.gather(*(read(works[at : at + DECODED]) for at in range(0, len(works), DECODED)))

    async def _content(self, work: _Work) -> bytes | None:
        """The encoded file; None where there is none to be had."""
        if work.product.image is None:
            return None
        try:
            async with self._fetching:
                return await self._pictures.load(work.product.image)
        except ImageRejected as error:
            self._reject(work, error)
            return None

    def _reject(self, work: _Work, error: ImageRejected) -> None:
        work.rejected = error
        work.inputs[Modality.IMAGE] = self._failed(work.row, work.inputs[Modality.IMAGE])

    async def _encode_modality(self, modality: Modality, works: Sequence[_Work]) -> None:
        todo = [work for work in works if modality in work.changed and modality in work.inputs]
        if modality is Modality.IMAGE:
            todo = [work for work in todo if work.pixels is not None]
        if not todo:
            return
        CALLS.labels(modality).inc()
        ROWS.labels(modality).inc(len(todo))
        for work, vector in zip(todo, await self._encoders.encode(modality, self._inputs(modality, todo)), strict=True):
            work.parts[modality] = vector
            work.pixels = None if modality is Modality.IMAGE else work.pixels

    def _inputs(self, modality: Modality, works: Sequence[_Work]) -> Mapping[str, NDArray[np.generic]]:
        match modality:
            case Modality.TEXT:
                TEXTS_CUT.inc(sum(len(work.product.description) > 5 * pre.WORDS_READ for work in works))
                return self._read_texts([work.text for work in works])
            case Modality.IMAGE:
                return {"pixels": np.stack([work.pixels for work in works if work.pixels is not None])}
            case Modality.PRICE:
                return pre.price_features(
                    [work.product.price or 0.0 for work in works],
                    [work.product.categories for work in works],
                    self._manifest.typical_prices,
                )
            case _:
                return pre.review_features([work.row.reviews for work in works], self._manifest.size(Modality.TEXT))

    async def _fuse(self, works: Sequence[_Work]) -> Sequence[Vector]:
        if not works:
            return []
        CALLS.labels(_FUSION).inc()
        ROWS.labels(_FUSION).inc(len(works))
        present = np.array([[modality in work.parts for modality in ENCODED] for work in works], dtype=np.bool_)
        parts = {}
        for column, modality in enumerate(ENCODED):
            having = np.flatnonzero(present[:, column])
            if len(having):
                matrix = np.zeros((len(works), self._manifest.encoded_size(modality)), dtype=np.float32)
                matrix[having] = [works[i].parts[modality] for i in having.tolist()]
                parts[modality] = matrix
        return list(await self._encoders.fuse(parts, present))

    def _end(self, work: _Work, vector: Vector | None) -> Encoded:
        row = work.row
        if vector is None:
            assert row.encoding is not None
            vector = row.encoding.vector
        encoding = Encoding(self._manifest.model_version, work.inputs, work.parts, vector)
        whole = CatalogRow(row.product_id, row.number, row.state, row.reviews, encoding, row.source, row.event_time_us)
        return Encoded(whole, work.product, work.rejected)


def _digest(data: bytes) -> bytes:
    return xxhash.xxh3_128_digest(data)


def _pixels(contents: Sequence[bytes]) -> list[NDArray[np.uint8] | ImageRejected]:
    """Each picture's pixels, or why it cannot be read."""
    decoded: list[NDArray[np.uint8] | ImageRejected] = []
    for content in contents:
        try:
            decoded.append(pre.image_pixels([content])["pixels"][0])
        except ImageRejected as error:
            decoded.append(error)
    return decoded
