"""The recommend and ingest services as the console calls them, over gRPC. May import the contract and errors."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from typing import Any

import grpc
from google.protobuf.duration_pb2 import Duration
from grpc_health.v1 import health_pb2, health_pb2_grpc

from freshet.errors import DependencyDown, InvalidInput, NotFound
from freshet.settings import Settings
from freshet.v1 import (
    ingestion_service_pb2,
    ingestion_service_pb2_grpc,
    interaction_pb2,
    product_pb2,
    recommendation_service_pb2_grpc,
)
from freshet.v1 import recommendation_service_pb2 as pb

TIMEOUT_SECONDS = 10.0
WAIT_SECONDS = 5
HEALTH_SECONDS = 2.0
_OPTIONS = [("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 1_000)]


class Services:
    """Channels are made at the first call. Methods raise DependencyDown, InvalidInput, NotFound."""

    def __init__(self, settings: Settings) -> None:
        self.addresses = {
            "recommend": f"{settings.recommend.host}:{settings.recommend.port}",
            "ingest": f"{settings.ingest.host}:{settings.ingest.port}",
        }
        self._channels: dict[str, Any] = {}

    async def interact(self, user_id: str, product_id: str, kind: str) -> str:
        """Publish one interaction; returns its consistency token."""
        event = interaction_pb2.Interaction(
            event_id=str(uuid.uuid4()), user_id=user_id, product_id=product_id, kind=kind, session_id="console"
        )
        request = ingestion_service_pb2.PublishInteractionsRequest(interactions=[event])
        return await self._published(self._ingest().PublishInteractions(request, timeout=TIMEOUT_SECONDS))

    async def set_available(self, product_id: str, available: bool) -> str:
        """Take a product out of the catalogue, or put it back; returns the change's consistency token."""
        event = product_pb2.ProductEvent(event_id=str(uuid.uuid4()))
        event.patch.product.product_id = product_id
        event.patch.product.available = available
        event.patch.update_mask.paths.append("available")
        request = ingestion_service_pb2.PublishProductsRequest(events=[event])
        return await self._published(self._ingest().PublishProducts(request, timeout=TIMEOUT_SECONDS))

    async def recommend(
        self, user_id: str, weights: pb.ModalityWeights, at_least: Sequence[str], size: int
    ) -> pb.RecommendResponse:
        """Without recording an exposure."""
        request = pb.RecommendRequest(
            user_id=user_id,
            page_size=size,
            weights=weights,
            at_least=at_least,
            at_least_wait=Duration(seconds=WAIT_SECONDS),
            dry_run=True,
        )
        answer: pb.RecommendResponse = await _asked(
            "recommend", self._recommend().Recommend(request, timeout=TIMEOUT_SECONDS)
        )
        return answer

    async def similar(self, product_id: str, weights: pb.ModalityWeights, size: int) -> pb.ListSimilarProductsResponse:
        request = pb.ListSimilarProductsRequest(product_id=product_id, page_size=size, weights=weights)
        answer: pb.ListSimilarProductsResponse = await _asked(
            "recommend", self._recommend().ListSimilarProducts(request, timeout=TIMEOUT_SECONDS)
        )
        return answer

    async def search(self, text: str, picture: bytes, size: int) -> pb.SearchProductsResponse:
        request = pb.SearchProductsRequest(text=text, page_size=size)
        if picture:
            request.image.content = picture
        answer: pb.SearchProductsResponse = await _asked(
            "recommend", self._recommend().SearchProducts(request, timeout=TIMEOUT_SECONDS)
        )
        return answer

    async def health(self, service: str) -> str:
        """Empty when it serves, else what is wrong, by grpc.health.v1."""
        stub = health_pb2_grpc.HealthStub(self._channel(service))
        try:
            answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=HEALTH_SECONDS)
        except grpc.aio.AioRpcError as error:
            return str(error.details())
        if answer.status == health_pb2.HealthCheckResponse.SERVING:
            return ""
        return str(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)).lower()

    async def close(self) -> None:
        channels = list(self._channels.values())
        self._channels.clear()
        await asyncio.gather(*(channel.close(None) for channel in channels))

    def _channel(self, service: str) -> Any:
        if service not in self._channels:
            self._channels[service] = grpc.aio.insecure_channel(self.addresses[service], options=_OPTIONS)
        return self._channels[service]

    def _ingest(self) -> Any:
        return ingestion_service_pb2_grpc.IngestionServiceStub(self._channel("ingest"))  # type: ignore[no-untyped-call]

    def _recommend(self) -> Any:
        return recommendation_service_pb2_grpc.RecommendationServiceStub(self._channel("recommend"))  # type: ignore[no-untyped-call]

    async def _published(self, call: Any) -> str:
        answer = await _asked("ingest", call)
        token: str = answer.consistency_token
        return token


async def _asked(service: str, call: Any) -> Any:
    try:
        return await call
    except grpc.aio.AioRpcError as error:
        detail = error.details() or error.code().name
        if error.code() is grpc.StatusCode.INVALID_ARGUMENT:
            raise InvalidInput("", detail) from error
        if error.code() is grpc.StatusCode.NOT_FOUND:
            raise NotFound(detail) from error
        raise DependencyDown(service, f"{error.code().name}: {detail}") from error
