"""One connection to the running services, as a shop would hold it. May import the contract and errors."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

import grpc

from freshet.errors import DependencyDown
from freshet.settings import Settings
from freshet.v1 import (
    ingestion_service_pb2,
    ingestion_service_pb2_grpc,
    interaction_pb2,
    recommendation_service_pb2_grpc,
)
from freshet.v1 import recommendation_service_pb2 as pb

TIMEOUT_SECONDS = 10.0


class ShopClient:
    """Publishes clicks and asks for recommendations. An async context manager."""

    def __init__(self, settings: Settings) -> None:
        self._addresses = (
            f"{settings.ingest.host}:{settings.ingest.port}",
            f"{settings.recommend.host}:{settings.recommend.port}",
        )

    async def __aenter__(self) -> ShopClient:
        self._channels = [grpc.aio.insecure_channel(address) for address in self._addresses]
        self._ingest: Any = ingestion_service_pb2_grpc.IngestionServiceStub(self._channels[0])  # type: ignore[no-untyped-call]
        self._recommend: Any = recommendation_service_pb2_grpc.RecommendationServiceStub(self._channels[1])  # type: ignore[no-untyped-call]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for channel in self._channels:
            await channel.close(None)

    async def click(self, user_id: str, product_id: str, kind: str = "CLICK") -> str:
        """Publish one interaction and return its consistency token."""
        request = ingestion_service_pb2.PublishInteractionsRequest(
            interactions=[
                interaction_pb2.Interaction(
                    event_id=str(uuid.uuid4()),
                    user_id=user_id,
                    product_id=product_id,
                    kind=kind,
                )
            ]
        )
        answer = await _asked("ingest", self._ingest.PublishInteractions(request, timeout=TIMEOUT_SECONDS))
        token: str = answer.consistency_token
        return token

    async def recommend(
        self,
        user_id: str,
        *,
        at_least: Sequence[str] = (),
        excluded: Sequence[str] = (),
        diversity: float | None = None,
        size: int = 10,
    ) -> pb.RecommendResponse:
        """What this shopper may want, without recording an exposure."""
        request = pb.RecommendRequest(user_id=user_id, page_size=size, at_least=at_least, dry_run=True)
        if diversity is not None:
            request.diversity = diversity
        request.filter.excluded_product_ids.extend(excluded)
        answer: pb.RecommendResponse = await _asked(
            "recommend", self._recommend.Recommend(request, timeout=TIMEOUT_SECONDS)
        )
        return answer

    async def click_to_answer(self, user_id: str, product_id: str) -> tuple[float, pb.RecommendResponse]:
        """Milliseconds from the click to an answer that counts it, and that answer."""
        begun = time.perf_counter()
        token = await self.click(user_id, product_id)
        answer = await self.recommend(user_id, at_least=[token])
        return (time.perf_counter() - begun) * 1e3, answer

    async def recommend_all(
        self,
        asked: Sequence[tuple[str, Sequence[str]]],
        *,
        at_once: int,
        done: Callable[[], None] = lambda: None,
    ) -> list[pb.RecommendResponse]:
        """Ten products for each (user, products to leave out), ranked by score alone, in the order asked."""
        room = asyncio.Semaphore(at_once)

        async def one(user_id: str, excluded: Sequence[str]) -> pb.RecommendResponse:
            async with room:
                answer = await self.recommend(user_id, excluded=excluded, diversity=0.0)
            done()
            return answer

        return list(await asyncio.gather(*(one(user_id, excluded) for user_id, excluded in asked)))


async def _asked(service: str, call: Any) -> Any:
    try:
        return await call
    except grpc.aio.AioRpcError as error:
        raise DependencyDown(service, f"{error.code().name}: {error.details()}") from error
