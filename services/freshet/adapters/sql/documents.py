"""Rows of the catalogue's tables from domain values, and back, without loss. No I/O; imports domain and ports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import orjson

from freshet.domain.products import Image, ProductState, Stamped, Version
from freshet.domain.progress import Position
from freshet.domain.representations import Modality, Vector, pack_all, unpack
from freshet.domain.reviews import ReviewSummary, StoredReview, Weighed
from freshet.ports import CatalogRow, Encoding


def product_row(row: CatalogRow) -> tuple[Any, ...]:
    """In the order of PRODUCTS' columns."""
    state, source = row.state, row.source
    values = {name: stamped.value for name, stamped in state.fields.items()}
    image = values.get("image")
    live = state.upserted is not None and (state.removed is None or state.upserted > state.removed)
    return (
        row.product_id,
        row.number,
        str(values.get("title") or "").replace("\0", ""),
        values.get("price"),
        values.get("available") is not False,
        live,
        write_state(state),
        image.content if isinstance(image, Image) and image.content else None,
        _json(row.reviews.stars),
        row.reviews.text_count,
        _exact(row.reviews.weighed.text_sum),
        source.topic if source else None,
        source.partition if source else None,
        source.offset if source else None,
        row.event_time_us,
        write_weights(row.reviews.weighed),
        row.reviews.model_version,
    )


def catalog_row(columns: Any, encoding: Encoding | None) -> CatalogRow:
    """From PRODUCTS' columns in their order."""
    (product_id, number, _, _, _, _, document, image, stars, texts, vector_sum, *rest) = columns
    topic, partition, offset, time, weights, version = rest
    return CatalogRow(
        product_id=product_id,
        number=number,
        state=read_state(product_id, document, image),
        reviews=ReviewSummary(tuple(orjson.loads(stars)), texts, read_weights(weights, vector_sum), version or ""),
        encoding=encoding,
        source=None if topic is None else Position(topic, partition, offset),
        event_time_us=time,
    )


def write_weights(weighed: Weighed) -> str:
    """JSON of everything but the vector."""
    numbers = {"text": weighed.text, "sentiment": weighed.sentiment, "sentiment_sum": weighed.sentiment_sum}
    return _json({"stars": weighed.stars, **numbers})


def read_weights(document: str | None, vector_sum: bytes | None) -> Weighed:
    if document is None:
        return Weighed()
    read = orjson.loads(document)
    stars = tuple(read["stars"])
    return Weighed(stars, read["text"], _read_exact(vector_sum), read["sentiment"], read["sentiment_sum"])


def write_state(state: ProductState) -> str:
    """JSON of everything but the picture's bytes. Stays text, for PostgreSQL's own JSON types refuse ``\\u0000``."""
    return _json(
        {
            "fields": {
                name: {"value": _plain(value), "version": version} for name, (value, version) in state.fields.items()
            },
            "upserted": state.upserted,
            "removed": state.removed,
        }
    )


def read_state(product_id: str, document: str, image_content: bytes | None) -> ProductState:
    read = orjson.loads(document)
    return ProductState(
        product_id,
        {
            name: Stamped(_typed(name, entry["value"], image_content), Version(*entry["version"]))
            for name, entry in read["fields"].items()
        },
        Version(*read["upserted"]) if read["upserted"] else None,
        Version(*read["removed"]) if read["removed"] else None,
    )


def encoding_rows(encodings: Sequence[tuple[str, Encoding]]) -> list[tuple[Any, ...]]:
    """Of (product_id, encoding) each, in the order of ENCODINGS' columns."""
    parts = pack_all([list(encoding.parts.values()) for _, encoding in encodings])
    vectors = pack_all([[encoding.vector] for _, encoding in encodings])
    return [
        (
            product_id,
            encoding.model_version,
            _json({name.value: digest.hex() for name, digest in encoding.inputs.items()}),
            _json({name.value: len(part) for name, part in encoding.parts.items()}),
            packed,
            vector,
        )
        for (product_id, encoding), packed, vector in zip(encodings, parts, vectors, strict=True)
    ]


def encoding(columns: Any) -> Encoding:
    """From ENCODINGS' columns in their order."""
    _, model_version, inputs, sizes, parts, vector = columns
    whole, split, start = unpack(parts), {}, 0
    for name, size in orjson.loads(sizes).items():
        split[Modality(name)] = whole[start : start + size]
        start += size
    digests = {Modality(name): bytes.fromhex(digest) for name, digest in orjson.loads(inputs).items()}
    return Encoding(model_version, digests, split, unpack(vector))


def review_row(review: StoredReview) -> tuple[Any, ...]:
    """In the order of REVIEWS' columns."""
    vector = _exact(review.text_vector)
    kept = (review.review_id, review.product_id, review.rating, vector, *review.version)
    return (*kept, review.text, review.sentiment, review.model_version)


def stored_review(columns: Any) -> StoredReview:
    """From REVIEWS' columns in their order."""
    review_id, product_id, rating, vector, time, offset, text, sentiment, model = columns
    version = Version(time, offset)
    # Of reviews from before revision 0003 neither words nor model are known.
    said = (_read_exact(vector), version, text or "", sentiment, model or "")
    return StoredReview(review_id, product_id, rating, *said)


def _json(value: Any) -> str:
    return orjson.dumps(value, default=list).decode()  # versions are named tuples, which orjson leaves to its caller


def _plain(value: Any) -> Any:
    if isinstance(value, Image):
        return {"uri": value.uri}
    return dict(value) if isinstance(value, Mapping) else value


def _typed(name: str, value: Any, image_content: bytes | None) -> Any:
    if name == "image" and value is not None:
        return Image(value["uri"], bytes(image_content or b""))
    return tuple(value) if name == "categories" and value is not None else value


def _exact(vector: Vector | None) -> bytes | None:
    return None if vector is None else vector.astype("<f4").tobytes()


def _read_exact(data: bytes | None) -> Vector | None:
    return None if data is None else np.frombuffer(data, dtype="<f4").astype(np.float32)
