"""Ask, search, click, hide, withdraw: what the Playground does, and in how many milliseconds. May import this room."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Mapping
from typing import Any

from freshet import bootstrap
from freshet.adapters.images import ImageLoader
from freshet.console.services import Services
from freshet.domain.products import Image, product
from freshet.errors import ImageRejected, InvalidInput, NotFound
from freshet.ports import CatalogStore
from freshet.settings import Settings
from freshet.v1 import interaction_pb2
from freshet.v1 import recommendation_service_pb2 as pb

LIST_SIZE = 12
SIMILAR_SIZE = 6
MODALITIES = tuple(field.name for field in pb.ModalityWeights.DESCRIPTOR.fields)
KINDS = tuple(
    value.name
    for value in interaction_pb2.Interaction.Kind.DESCRIPTOR.values
    if value.name not in ("KIND_UNSPECIFIED", "RATING")
)
_MAGIC: Mapping[bytes, str] = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF87a": "image/gif",
    b"GIF89a": "image/gif",
}


class Playground:
    """Building it connects nothing."""

    def __init__(self, settings: Settings, services: Services) -> None:
        self._settings, self._services = settings, services
        self._images = ImageLoader(settings.images)
        self._catalog: CatalogStore | None = None

    async def close(self) -> None:
        await self._images.close()
        if self._catalog is not None:
            self._catalog.close()

    async def recommend(self, user_id: str, weights: pb.ModalityWeights) -> dict[str, Any]:
        begun = time.perf_counter()
        answer = await self._services.recommend(user_id, weights, (), LIST_SIZE)
        return described(answer) | {"milliseconds": {"answered": _since(begun)}}

    async def interact(self, user_id: str, product_id: str, kind: str, weights: pb.ModalityWeights) -> dict[str, Any]:
        """Publish one interaction, and the first answer that counts it. Raises InvalidInput for a kind unknown."""
        if kind not in KINDS:
            raise InvalidInput("kind", f"is {kind!r}; one of {', '.join(KINDS)} is needed")
        begun = time.perf_counter()
        token = await self._services.interact(user_id, product_id, kind)
        return await self._answer_after(token, begun, user_id, weights)

    async def set_available(
        self, user_id: str, product_id: str, available: bool, weights: pb.ModalityWeights
    ) -> dict[str, Any]:
        """Change the catalogue, and the first answer that counts it."""
        begun = time.perf_counter()
        token = await self._services.set_available(product_id, available)
        return await self._answer_after(token, begun, user_id, weights)

    async def similar(self, product_id: str, weights: pb.ModalityWeights) -> dict[str, Any]:
        begun = time.perf_counter()
        answer = await self._services.similar(product_id, weights, SIMILAR_SIZE)
        return {
            "products": [_product(found) for found in answer.products],
            "milliseconds": {"answered": _since(begun)},
        }

    async def search(self, text: str, picture: bytes) -> dict[str, Any]:
        """Products by words, by the file of a picture, or by both."""
        begun = time.perf_counter()
        answer = await self._services.search(text, picture, LIST_SIZE)
        return {
            "products": [_product(found) for found in answer.products],
            "freshness": _freshness(answer.freshness),
            "milliseconds": {"answered": _since(begun)},
        }

    async def picture(self, product_id: str) -> tuple[bytes, str]:
        """A product's picture and its media type. Raises NotFound where the catalogue has none that can be shown."""
        image = await asyncio.to_thread(self._image, product_id)
        if image is None:
            raise NotFound(f"product {product_id!r} has no picture")
        try:
            content = await self._images.load(image)
        except ImageRejected as error:
            raise NotFound(f"the picture of product {product_id!r} cannot be shown: {error}") from error
        kind = media_type(content)
        if not kind:
            raise NotFound(f"the picture of product {product_id!r} is no PNG, JPEG, GIF or WebP")
        return content, kind

    def _image(self, product_id: str) -> Image | None:
        if self._catalog is None:
            self._catalog = bootstrap.catalog_store(self._settings, "")
        row = self._catalog.load([product_id]).get(product_id)
        return None if row is None else product(row.state).image

    async def _answer_after(
        self, token: str, begun: float, user_id: str, weights: pb.ModalityWeights
    ) -> dict[str, Any]:
        published = _since(begun)
        asked = time.perf_counter()
        answer = await self._services.recommend(user_id, weights, [token], LIST_SIZE)
        asking = _since(asked)
        waited = min(asking, answer.freshness.waited.ToMicroseconds() / 1e3)
        return described(answer) | {
            "milliseconds": {"published": published, "applied": waited, "answered": asking - waited}
        }


def read_weights(given: Mapping[str, Any]) -> pb.ModalityWeights:
    """From what the page sent, by modality. Raises InvalidInput."""
    weights = pb.ModalityWeights()
    for name, value in given.items():
        if name not in MODALITIES:
            raise InvalidInput("weights", f"names {name!r}; there are {', '.join(MODALITIES)}")
        try:
            number = float(value)
        except (TypeError, ValueError) as error:
            raise InvalidInput(f"weights.{name}", f"is {value!r}; a number is needed") from error
        if not math.isfinite(number):
            raise InvalidInput(f"weights.{name}", f"is {value!r}; a finite number is needed")
        setattr(weights, name, number)
    return weights


def media_type(content: bytes) -> str:
    """By the file's own first bytes; empty when it is no picture that every browser shows."""
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for magic, kind in _MAGIC.items() if content.startswith(magic)), "")


def described(answer: pb.RecommendResponse) -> dict[str, Any]:
    """An answer as JSON."""
    return {
        "products": [_product(found) for found in answer.products],
        "basis": pb.Basis.Name(answer.basis),
        "freshness": _freshness(answer.freshness),
    }


def _freshness(fresh: pb.Freshness) -> dict[str, Any]:
    return {
        "model": fresh.model_version,
        "interactions": [[place.partition, place.offset] for place in fresh.interactions],
        "representations": [[place.partition, place.offset] for place in fresh.representations],
        "profile_time": _milliseconds(fresh, "profile_event_time"),
        "catalogue_time": _milliseconds(fresh, "catalogue_event_time"),
        "reached": fresh.at_least_reached,
        "degraded": fresh.degraded,
        "reasons": list(fresh.degraded_reasons),
    }


def _product(found: pb.RecommendedProduct) -> dict[str, Any]:
    return {
        "id": found.product_id,
        "title": found.title,
        "brand": found.brand,
        "categories": list(found.categories),
        "price": found.price if found.HasField("price") else None,
        "currency": found.currency,
        "score": found.score,
        "reason": found.reason,
        "rating": found.rating if found.HasField("rating") else None,
        "reviews": found.review_count,
        "contributions": [[part.modality, part.value] for part in found.contributions],
    }


def _milliseconds(message: pb.Freshness, field: str) -> int | None:
    return getattr(message, field).ToMilliseconds() if message.HasField(field) else None


def _since(begun: float) -> float:
    return (time.perf_counter() - begun) * 1e3
