"""A publisher straight to Kafka that looks at what became of its records."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, field

from replay import wait_applied

from freshet import bootstrap
from freshet.adapters.kafka import Producer
from freshet.codec.wire import PROTOBUF
from freshet.domain import products, profiles
from freshet.domain.products import Product
from freshet.domain.progress import Position
from freshet.ports import CatalogRow
from freshet.settings import Settings
from freshet.stream.dead_letters import Letter, read_letters
from freshet.v1 import product_pb2
from freshet.v1.interaction_pb2 import Interaction
from freshet.v1.product_pb2 import ProductEvent, Review

IN_AN_HOUR_US = 3_600_000_000


@dataclass
class Line:
    """Publishes with identifiers of its own: `name` is the key, and may be the id of a product and of a shopper."""

    settings: Settings
    producer: Producer
    name: str = field(default_factory=lambda: f"bad-{uuid.uuid4().hex[:8]}")

    def publish(
        self, topic: str, *values: bytes | None, content: str = PROTOBUF, timestamp_ms: int | None = None, key: str = ""
    ) -> list[Position]:
        """Where Kafka put these, which all have the same key: one partition keeps their order."""
        headers = {"content-type": content.encode()}
        futures = [self.producer.publish(topic, key or self.name, value, headers, timestamp_ms) for value in values]
        return [future.result(timeout=30.0) for future in futures]

    def products(self, *events: ProductEvent) -> list[Position]:
        return self.publish(self.settings.topics.products, *(event.SerializeToString() for event in events))

    def reviews(self, *reviews: Review) -> list[Position]:
        return self.publish(self.settings.topics.reviews, *(review.SerializeToString() for review in reviews))

    def interactions(self, *events: Interaction, key: str = "") -> list[Position]:
        """`key` must be the shopper where that is another than `name`: a shopper's events are in one partition."""
        values = (event.SerializeToString() for event in events)
        return self.publish(self.settings.topics.interactions, *values, key=key)

    def good(self, **facts: object) -> ProductEvent:
        described = {"product_id": self.name, "title": "red dress", "price": 10.0, "currency": "EUR"} | facts
        return ProductEvent(upsert=product_pb2.Product(**described))

    def letters(self, places: Iterable[Position]) -> list[Letter]:
        """Dead letters of these records, in the order of their offsets, once everything is applied."""
        wait_applied(self.settings)
        wanted = set(places)
        found = read_letters(self.settings.kafka_url, self.settings.topics.dead_letters)
        chosen = [letter for letter in found if source_of(letter) in wanted]
        return sorted(chosen, key=lambda letter: letter.message.source.offset)

    def row(self, product_id: str = "") -> CatalogRow | None:
        manifest = bootstrap.model_manifest(self.settings)
        with closing(bootstrap.catalog_store(self.settings, manifest.model_version)) as store:
            return store.load([product_id or self.name]).get(product_id or self.name)

    def product(self, product_id: str = "") -> Product | None:
        """The product as the shop shows it; None while it is not there."""
        row = self.row(product_id)
        return products.product(row.state) if row is not None and products.live(row.state) else None

    def profile(self) -> profiles.Profile | None:
        with closing(bootstrap.profile_store(self.settings)) as store:
            data = store.load_profiles([self.name]).get(self.name)
        return None if data is None else profiles.decode(data)


def source_of(letter: Letter) -> Position:
    source = letter.message.source
    return Position(source.topic, source.partition, source.offset)
