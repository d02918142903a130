"""What somebody searches for, from words and a picture to vectors. May import `ports`, `domain` and preprocessing.

Encodings are kept by the content they were made of, so that a query asked again needs no model. Before the model is
trusted, and once a minute, it must answer its golden inputs as the vectors in memory expect (invariant 5).
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
import xxhash
from numpy.typing import NDArray

from freshet.domain.products import Image
from freshet.domain.representations import Layout, Matrix, Modality, Vector
from freshet.domain.searching import QueryVectors
from freshet.errors import DependencyDown, ModelMismatch
from freshet.ports import QueryEncoders
from freshet.recommend.clock import Clock
from freshet.recommend.lexicon import distinct
from freshet.recommend.measures import QUERIES, stage
from freshet.representation import preprocessing as pre

TRUSTED_SECONDS = 60.0
LEAST_SECONDS = 0.002
"""With less time than this the model is not asked at all."""

T = TypeVar("T")


class Pictures(Protocol):
    """Where a picture's bytes come from."""

    async def load(self, image: Image) -> bytes:
        """Raises ImageRejected."""
        ...


@dataclass(frozen=True, slots=True)
class Query:
    """What is sought: `words` with their hashes, `vectors` as the model reads words and picture."""

    words: Mapping[str, int]
    vectors: QueryVectors


class QueryReader:
    """Reads queries, and remembers the `kept` last used encodings. Building it connects nothing."""

    def __init__(
        self, layout: Layout, encoders: QueryEncoders, read_texts: pre.TextReader, pictures: Pictures, kept: int
    ) -> None:
        self._encoders, self._read_texts, self._pictures, self._kept = encoders, read_texts, pictures, kept
        text = layout.slices[Modality.TEXT]
        self._text_size = text.stop - text.start
        self._known: OrderedDict[tuple[str, bytes], QueryVectors] = OrderedDict()
        self._trusted_until = 0.0
        self._decoding = ThreadPoolExecutor(max_workers=2, thread_name_prefix="query-picture")

    async def read(self, text: str, image: Image | None, clock: Clock, model_seconds: float) -> Query:
        """Words and picture as vectors; what could not be read in time is left out and named in `clock.missing`.

        Raises ImageRejected for a picture that cannot or must not be read, and DependencyDown where nothing is left to
        search by.
        """
        content = await self._fetched(image, clock, alone=not text) if image is not None else None
        with stage("encode"):
            words = distinct(text)
            by_text, by_image = await asyncio.gather(
                self._part("text", text.encode(), lambda: self._encode_text(text), clock, model_seconds),
                self._part("image", content or b"", lambda: self._encode_image(content or b""), clock, model_seconds),
            )
        if isinstance(by_text, DependencyDown):
            clock.missing.append(f"{by_text.dependency}: {by_text.detail}; searched by the very words alone")
            by_text = QueryVectors()
        if isinstance(by_image, DependencyDown):
            if not words:
                raise by_image
            clock.missing.append(f"{by_image.dependency}: {by_image.detail}; searched without the picture")
            by_image = QueryVectors()
        return Query(words, QueryVectors(by_text.text, by_text.caption, by_image.image))

    async def close(self) -> None:
        self._decoding.shutdown(wait=False, cancel_futures=True)
        await self._encoders.close()

    async def _fetched(self, image: Image, clock: Clock, *, alone: bool) -> bytes | None:
        """The picture's file; None where it did not come in time, and words are left to search by."""
        with stage("fetch"):
            try:
                return await asyncio.wait_for(self._pictures.load(image), clock.left())
            except TimeoutError as error:
                late = DependencyDown("the picture's server", "no answer within the time there was")
                if alone:
                    raise late from error
                clock.missing.append(f"{late.dependency}: {late.detail}; searched without the picture")
                return None

    async def _part(
        self,
        name: str,
        content: bytes,
        encode: Callable[[], Awaitable[QueryVectors]],
        clock: Clock,
        model_seconds: float,
    ) -> QueryVectors | DependencyDown:
        """One part's vectors, from memory or from the model."""
        if not content:
            return QueryVectors()
        key = (name, xxhash.xxh3_128_digest(content))
        if (known := self._known.get(key)) is not None:
            self._known.move_to_end(key)
            QUERIES.labels(name, "known").inc()
            return known
        QUERIES.labels(name, "encoded").inc()
        seconds = clock.left(model_seconds)
        if seconds < LEAST_SECONDS:
            return DependencyDown("triton", "left out, the deadline is too near")
        try:
            found = await asyncio.wait_for(encode(), seconds)
        except TimeoutError:
            return DependencyDown("triton", f"no answer within {seconds * 1e3:.0f} ms")
        except DependencyDown as error:
            self._trusted_until = 0.0
            return error
        except ModelMismatch as error:
            # What was read since the last look may be the other model's.
            self._known.clear()
            self._trusted_until = 0.0
            return DependencyDown("triton", str(error))
        self._known[key] = found
        if len(self._known) > self._kept:
            self._known.popitem(last=False)
        return found

    async def _trust(self) -> None:
        """Raises DependencyDown, ModelMismatch."""
        if time.monotonic() >= self._trusted_until:
            await self._encoders.canary()
            self._trusted_until = time.monotonic() + TRUSTED_SECONDS

    async def _encode_text(self, text: str) -> QueryVectors:
        await self._trust()
        tokens = self._read_texts([text])
        encoded = (await self._encoders.encode(Modality.TEXT, tokens))[0]
        learned = encoded[: self._text_size]
        caption = (await self._encoders.caption(np.ascontiguousarray(learned[None])))[0]
        return QueryVectors(_unit(learned), _unit(caption))

    async def _encode_image(self, content: bytes) -> QueryVectors:
        pixels = await asyncio.get_running_loop().run_in_executor(self._decoding, _pixels, content)
        await self._trust()
        encoded: Matrix = await self._encoders.encode(Modality.IMAGE, pixels)
        return QueryVectors(image=_unit(encoded[0]))


def _pixels(content: bytes) -> Mapping[str, NDArray[np.generic]]:
    return pre.image_pixels([content])


def _unit(vector: Vector) -> Vector | None:
    """Of unit length; None where there is nothing."""
    length = float(np.linalg.norm(vector))
    if length == 0.0:
        return None
    found: Vector = vector / np.float32(length)
    return found
