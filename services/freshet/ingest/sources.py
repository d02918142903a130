"""The H&M data set as events to publish. May import codec, domain, hm."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from freshet.codec.events import timestamp, write_product
from freshet.ingest import hm
from freshet.ingest.publish import Source
from freshet.v1 import interaction_pb2, product_pb2

DAY_US = 86_400_000_000


def hm_products(directory: Path, *, images: bool = True) -> Iterator[Source]:
    """An upsert per article. Its event id follows from the article, so importing twice is harmless."""
    for product in hm.read_products(directory, images=images):
        event = product_pb2.ProductEvent(event_id=f"hm-{product.product_id}", upsert=write_product(product))
        yield Source(f"article {product.product_id}", event)


def hm_interactions(directory: Path, splits: Sequence[str], shift_us: int = 0) -> Iterator[Source]:
    """A PURCHASE per row, its time moved by `shift_us`, oldest first."""
    for purchase in sorted(hm.read_purchases(directory, splits), key=lambda purchase: purchase.time_us):
        event = interaction_pb2.Interaction(
            event_id=f"hm-{purchase.customer_id[:16]}-{purchase.article_id}-{purchase.time_us // DAY_US}",
            user_id=purchase.customer_id,
            product_id=purchase.article_id,
            kind=interaction_pb2.Interaction.Kind.PURCHASE,
            event_time=timestamp(purchase.time_us + shift_us),
        )
        yield Source(f"purchase {purchase.customer_id[:12]}…/{purchase.article_id}", event)
