"""The client for asyncio. Belongs to the event loop that it is first used in."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

import grpc
import stamina

from freshet.client import calls
from freshet.client.calls import Call, Event, Kind, Published, Streamed, Tokens
from freshet.client.failures import Patience, failure
from freshet.v1 import ingestion_service_pb2_grpc, interaction_pb2, product_pb2, recommendation_service_pb2_grpc
from freshet.v1 import recommendation_service_pb2 as pb

A = TypeVar("A")


class AsyncFreshet:
    """Connections to the ingest and the recommend service; an async context manager.

    A call is tried up to `attempts` times while the service is away, and takes at most `timeout` seconds, all attempts
    and the pauses between them included; a `wait` comes on top. Many events go out in calls of a thousand. Events get
    ids before they are sent, so that one that was sent twice counts once. A Recommend that timed out is not tried
    again: it may have been answered, and each answer records an exposure. What this client published of a shopper
    counts in what it recommends to them. Raises Refused, NotFound, Unavailable.
    """

    def __init__(
        self,
        recommend: str = "127.0.0.1:7070",
        ingest: str = "127.0.0.1:7071",
        *,
        timeout: float = 5.0,
        attempts: int = 5,
        credentials: grpc.ChannelCredentials | None = None,
    ) -> None:
        """`recommend` and `ingest` are HOST:PORT; `credentials` are those of TLS. Connects on first use."""

        def channel(address: str) -> grpc.aio.Channel:
            return grpc.aio.secure_channel(address, credentials) if credentials else grpc.aio.insecure_channel(address)

        self._channels = (channel(ingest), channel(recommend))
        self._stubs: dict[str, Any] = {
            "ingest": ingestion_service_pb2_grpc.IngestionServiceStub(self._channels[0]),  # type: ignore[no-untyped-call]
            "recommend": recommendation_service_pb2_grpc.RecommendationServiceStub(self._channels[1]),  # type: ignore[no-untyped-call]
        }
        self._timeout, self._attempts = timeout, attempts
        self._tokens = Tokens()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        for channel in self._channels:
            await channel.close(None)

    # --- publishing

    async def publish_products(self, events: Iterable[product_pb2.ProductEvent | product_pb2.Product]) -> Published:
        """Products (upserts), patches and removals, any number of them; a thousand at a time."""
        return await self._publish(calls.publish_products, calls.batches(calls.product_events(events)))

    async def publish_reviews(self, reviews: Iterable[product_pb2.Review]) -> Published:
        return await self._publish(calls.publish_reviews, calls.batches(reviews))

    async def publish_interactions(self, interactions: Iterable[interaction_pb2.Interaction]) -> Published:
        answers = []
        for batch in calls.batches(interactions):
            answer = await self._ask(calls.publish_interactions(batch, self._timeout))
            self._tokens.remember((event.user_id for event in batch), answer.consistency_token)
            answers.append(answer)
        return calls.collected(answers)

    async def click(
        self, user_id: str, product_id: str, kind: Kind = "CLICK", *, attribution_token: str = "", session_id: str = ""
    ) -> Published:
        """One interaction, of any kind. `attribution_token` is that of the answer which showed the product."""
        event = interaction_pb2.Interaction(
            user_id=user_id,
            product_id=product_id,
            kind=kind,
            attribution_token=attribution_token,
            session_id=session_id,
        )
        return await self.publish_interactions([event])

    async def publish_stream(self, events: Iterable[Event], *, timeout: float | None = None) -> Streamed:
        """Products, reviews and interactions, mixed, over one stream. A bad event is counted and told, and the rest
        goes on. Not tried again: of a stream that broke nobody knows how far it came."""
        try:
            answer = await self._stubs["ingest"].PublishStream(map(calls.streamed, events), timeout=timeout)
        except grpc.aio.AioRpcError as error:
            raise failure("ingest", error) from error
        return calls.stream_result(answer)

    # --- asking

    async def recommend(
        self,
        user_id: str,
        *,
        page_size: int = 0,
        page_token: str = "",
        filter: pb.Filter | None = None,
        weights: pb.ModalityWeights | None = None,
        diversity: float | None = None,
        at_least: Sequence[str] = (),
        session_id: str = "",
        dry_run: bool = False,
        wait: float = 1.0,
    ) -> pb.RecommendResponse:
        """What this shopper may want next (docs/api.md, RecommendRequest).

        It waits up to `wait` seconds for `at_least` and for what this client published of the shopper; whether that was
        reached stands in `freshness.at_least_reached`.
        """
        own = self._tokens.of(user_id)
        call = calls.recommend(
            user_id,
            page_size=page_size,
            page_token=page_token,
            filter=filter,
            weights=weights,
            diversity=diversity,
            at_least=(*own, *at_least),
            session_id=session_id,
            dry_run=dry_run,
            wait_seconds=wait,
            seconds=self._timeout,
        )
        return await self._ask(call)

    async def recommend_pages(self, user_id: str, **arguments: Any) -> AsyncIterator[pb.RecommendResponse]:
        """The pages of one ranking, one after the other; arguments as for `recommend`."""
        answer = await self.recommend(user_id, **arguments)
        yield answer
        while answer.next_page_token:
            answer = await self.recommend(user_id, **arguments, page_token=answer.next_page_token)
            yield answer

    async def list_similar(
        self,
        product_id: str,
        *,
        page_size: int = 0,
        filter: pb.Filter | None = None,
        weights: pb.ModalityWeights | None = None,
        at_least: Sequence[str] = (),
        wait: float = 1.0,
    ) -> pb.ListSimilarProductsResponse:
        """Products like this one. Raises NotFound."""
        call = calls.list_similar(
            product_id,
            page_size=page_size,
            filter=filter,
            weights=weights,
            at_least=at_least,
            wait_seconds=wait,
            seconds=self._timeout,
        )
        return await self._ask(call)

    async def search(
        self,
        text: str = "",
        *,
        image: bytes | str = b"",
        page_size: int = 0,
        page_token: str = "",
        filter: pb.Filter | None = None,
        weights: pb.SearchWeights | None = None,
        at_least: Sequence[str] = (),
        wait: float = 1.0,
    ) -> pb.SearchProductsResponse:
        """Products that these words describe, that look like this picture, or both.

        `image` is the encoded file, or an address from which the service fetches it. Waits up to `wait` seconds for
        `at_least`.
        """
        call = calls.search(
            text,
            image=image,
            page_size=page_size,
            page_token=page_token,
            filter=filter,
            weights=weights,
            at_least=at_least,
            wait_seconds=wait,
            seconds=self._timeout,
        )
        return await self._ask(call)

    async def _publish(self, call: Callable[[Any, float], Call[Any]], batches: Iterable[Any]) -> Published:
        return calls.collected([await self._ask(call(batch, self._timeout)) for batch in batches])

    async def _ask(self, call: Call[A]) -> A:
        method = getattr(self._stubs[call.service], call.method)
        patience = Patience(call)
        try:
            async for attempt in stamina.retry_context(on=patience.again, attempts=self._attempts, timeout=None):
                with attempt:
                    answer: A = await method(call.request, timeout=patience.left)
        except grpc.aio.AioRpcError as error:
            raise failure(call.service, error) from error
        return answer
