"""What is published of products: the messages that the index and the recommend service read. May import `ports`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from freshet.codec import events
from freshet.domain import products, reviews
from freshet.domain.products import Product
from freshet.domain.representations import Layout, pack_all
from freshet.ports import CatalogRow
from freshet.representation import preprocessing as pre
from freshet.v1 import stream_pb2


def representations(
    rows: Sequence[CatalogRow], layout: Layout, known: Mapping[str, Product]
) -> list[stream_pb2.Representation]:
    """Of each row what the index and the recommend service need.

    `known`: products by id that were read of these rows before. Vectors are packed together: that costs a fifth.
    """
    encodings = [row.encoding if products.live(row.state) else None for row in rows]
    vectors = [encoding.vector for encoding in encodings if encoding is not None]
    packed = zip(pack_all([[vector] for vector in vectors]), layout.present(vectors), strict=True)
    return [
        _message(row, layout, removed=True)
        if encoding is None
        else _kept(row, layout, known.get(row.product_id) or products.product(row.state), *next(packed))
        for row, encoding in zip(rows, encodings, strict=True)
    ]


def _kept(
    row: CatalogRow, layout: Layout, product: Product, vector: bytes, present_segments: int
) -> stream_pb2.Representation:
    return _message(
        row,
        layout,
        vector=vector,
        present_segments=present_segments,
        title=product.title,
        brand=product.brand,
        currency=product.currency,
        categories=product.categories,
        words=pre.word_hashes(pre.product_text(product)),
        title_words=len(pre.word_hashes(product.title)),
        available=product.available,
        price=product.price,
        image_uri=product.image.uri if product.image is not None else "",
        review_count=row.reviews.count,
        rating=reviews.shrunk_rating(row.reviews),
        review_sentiment=reviews.shrunk_sentiment(row.reviews),
    )


def _message(row: CatalogRow, layout: Layout, **facts: Any) -> stream_pb2.Representation:
    """What every message says of its row, and these facts."""
    source = None
    if row.source is not None:
        source = stream_pb2.Position(topic=row.source.topic, partition=row.source.partition, offset=row.source.offset)
    return stream_pb2.Representation(
        product_id=row.product_id,
        product_number=row.number,
        model_version=layout.model_version,
        event_time=events.timestamp(row.event_time_us),
        source=source,
        **facts,
    )
