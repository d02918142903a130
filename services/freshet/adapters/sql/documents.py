"""Rows of the catalogue's tables from domain values, and back, without loss. No I/O; imports domain and ports."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from freshet.domain.products import Image, ProductState, Stamped, Version
from freshet.domain.progress import Position
from freshet.domain.representations import Modality, Vector, pack, unpack
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
        json.dumps(row.reviews.stars),
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
        reviews=ReviewSummary(tuple(json.loads(stars)), texts, read_weights(weights, vector_sum), version or ""),
        encoding=encoding,
        source=None if topic is None else Position(topic, partition, offset),
        event_time_us=time,
    )


def write_weights(weighed: Weighed) -> str:
    """JSON of everything but the vector."""
    numbers = {"text": weighed.text, "sentiment": weighed.sentiment, "sentiment_sum": weighed.sentiment_sum}
    return json.dumps({"stars": weighed.stars, **numbers})


def read_weights(document: str | None, vector_sum: bytes | None) -> Weighed:
    if document is None:
        return Weighed()
    read = json.loads(document)
    stars = tuple(read["stars"])
    return Weighed(stars, read["text"], _read_exact(vector_sum), read["sentiment"], read["sentiment_sum"])


def write_state(state: ProductState) -> str:
    """JSON of everything but the picture's bytes. Stays text, for PostgreSQL's own JSON types refuse ``\\u0000``."""
    return json.dumps(
        {
            "fields": {
                name: {"value": _plain(stamped.value), "version": stamped.version}
                for name, stamped in state.fields.items()
            },
            "upserted": state.upserted,
            "removed": state.removed,
        }
    )


def read_state(product_id: str, document: str, image_content: bytes | None) -> ProductState:
    read = json.loads(document)
    return ProductState(
        product_id,
        {
            name: Stamped(_typed(name, entry["value"], image_content), Version(*entry["version"]))
            for name, entry in read["fields"].items()
        },
        Version(*read["upserted"]) if read["upserted"] else None,
        Version(*read["removed"]) if read["removed"] else None,
    )


def encoding_row(product_id: str, encoding: Encoding) -> tuple[Any, ...]:
    """In the order of ENCODINGS' columns."""
    return (
        product_id,
        encoding.model_version,
        json.dumps({name: digest.hex() for name, digest in encoding.inputs.items()}),
        json.dumps({name: len(part) for name, part in encoding.parts.items()}),
        b"".join(pack(part) for part in encoding.parts.values()),
        pack(encoding.vector),
    )


def encoding(columns: Any) -> Encoding:
    """From ENCODINGS' columns in their order."""
    _, model_version, inputs, sizes, parts, vector = columns
    whole, split, start = unpack(parts), {}, 0
    for name, size in json.loads(sizes).items():
        split[Modality(name)] = whole[start : start + size]
        start += size
    digests = {Modality(name): bytes.fromhex(digest) for name, digest in json.loads(inputs).items()}
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
