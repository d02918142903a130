"""What the client does when a service falters, against a real gRPC server that answers as it is told."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import grpc
import pytest

from freshet.client import AsyncFreshet, Freshet, Unavailable
from freshet.client.calls import EVENTS_AT_ONCE, Tokens, batches
from freshet.v1 import ingestion_service_pb2 as ingest
from freshet.v1 import ingestion_service_pb2_grpc, recommendation_service_pb2_grpc
from freshet.v1 import recommendation_service_pb2 as pb
from freshet.v1.interaction_pb2 import Interaction
from freshet.v1.product_pb2 import Product, ProductEvent


class Faltering(
    ingestion_service_pb2_grpc.IngestionServiceServicer, recommendation_service_pb2_grpc.RecommendationServiceServicer
):
    """Keeps what it was sent; ends the first calls with these statuses, and answers after `seconds`."""

    def __init__(self, *statuses: grpc.StatusCode, seconds: float = 0.0) -> None:
        self.statuses, self.seconds = list(statuses), seconds
        self.sent: list[list[str]] = []
        self.left: list[float] = []
        """Of each call, the seconds that the caller gave it."""

    async def Recommend(self, request: pb.RecommendRequest, context: Any) -> pb.RecommendResponse:
        self.left.append(context.time_remaining())
        await asyncio.sleep(self.seconds)
        if self.statuses:
            await context.abort(self.statuses.pop(0), "not now")
        return pb.RecommendResponse()

    async def PublishInteractions(self, request: ingest.PublishInteractionsRequest, context: Any) -> Any:
        ids = [event.event_id for event in request.interactions]
        self.sent.append(ids)
        self.left.append(context.time_remaining())
        await asyncio.sleep(self.seconds)
        if self.statuses:
            await context.abort(self.statuses.pop(0), "not now")
        return ingest.PublishResponse(consistency_token="t", published_count=len(ids), event_ids=ids)


@asynccontextmanager
async def serving(service: Faltering) -> AsyncIterator[str]:
    server = grpc.aio.server()
    ingestion_service_pb2_grpc.add_IngestionServiceServicer_to_server(service, server)
    recommendation_service_pb2_grpc.add_RecommendationServiceServicer_to_server(service, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


async def test_an_event_that_is_sent_again_has_the_id_it_had() -> None:
    service = Faltering(grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
    async with serving(service) as address, AsyncFreshet(ingest=address) as freshet:
        published = await freshet.click("ann", "boot")
    assert len(service.sent) == 3
    assert service.sent[0] == service.sent[1] == service.sent[2] == list(published.event_ids)
    assert published.event_ids[0]


async def test_the_blocking_client_tries_again_too() -> None:
    service = Faltering(grpc.StatusCode.UNAVAILABLE)

    def publish(address: str) -> int:
        with Freshet(ingest=address) as freshet:
            return freshet.publish_interactions([Interaction(user_id="ann", product_id="boot", kind="VIEW")]).count

    async with serving(service) as address:
        assert await asyncio.to_thread(publish, address) == 1
    assert len(service.sent) == 2


async def test_after_so_many_attempts_it_says_what_is_away() -> None:
    service = Faltering(*[grpc.StatusCode.UNAVAILABLE] * 9)
    async with serving(service) as address, AsyncFreshet(ingest=address, attempts=2) as freshet:
        with pytest.raises(Unavailable, match="ingest is not available: UNAVAILABLE: not now"):
            await freshet.click("ann", "boot")
    assert len(service.sent) == 2


async def test_what_is_wrong_for_good_is_not_tried_again() -> None:
    service = Faltering(grpc.StatusCode.PERMISSION_DENIED)
    async with serving(service) as address, AsyncFreshet(ingest=address) as freshet:
        with pytest.raises(Unavailable, match="PERMISSION_DENIED"):
            await freshet.click("ann", "boot")
    assert len(service.sent) == 1


async def test_the_deadline_is_that_of_all_attempts_together() -> None:
    service = Faltering(*[grpc.StatusCode.UNAVAILABLE] * 9, seconds=0.3)
    async with serving(service) as address, AsyncFreshet(ingest=address, timeout=2.0, attempts=9) as freshet:
        begun = time.monotonic()
        with pytest.raises(Unavailable):
            await freshet.click("ann", "boot")
        assert time.monotonic() - begun < 10.0  # nine attempts of 2 seconds, or their pauses, take longer
    assert len(service.left) > 1
    assert all(earlier > later for earlier, later in pairwise(service.left))
    assert len({tuple(ids) for ids in service.sent}) == 1


async def test_a_service_that_is_slow_is_waited_for_once() -> None:
    service = Faltering(seconds=30.0)

    def publish(address: str) -> float:
        begun = time.monotonic()
        with Freshet(ingest=address, timeout=0.5) as freshet, pytest.raises(Unavailable, match="DEADLINE_EXCEEDED"):
            freshet.click("ann", "boot")
        return time.monotonic() - begun

    async with serving(service) as address:
        assert 0.4 < await asyncio.to_thread(publish, address) < 20.0
        async with AsyncFreshet(ingest=address, recommend=address, timeout=0.5) as freshet:
            with pytest.raises(Unavailable, match="DEADLINE_EXCEEDED"):
                await freshet.recommend("ann")
    assert len(service.left) == 2


@pytest.mark.parametrize(
    ("status", "dry_run", "asked"),
    [
        (grpc.StatusCode.UNAVAILABLE, False, 2),
        (grpc.StatusCode.DEADLINE_EXCEEDED, False, 1),
        (grpc.StatusCode.ABORTED, False, 1),
        (grpc.StatusCode.DEADLINE_EXCEEDED, True, 2),
    ],
)
async def test_an_answer_that_may_have_been_given_is_not_asked_for_again(
    status: grpc.StatusCode, dry_run: bool, asked: int
) -> None:
    """It would record a second exposure; a dry run records none."""
    service = Faltering(status)
    async with serving(service) as address, AsyncFreshet(recommend=address) as freshet:
        if asked == 2:
            await freshet.recommend("ann", dry_run=dry_run)
        else:
            with pytest.raises(Unavailable, match=status.name):
                await freshet.recommend("ann", dry_run=dry_run)
    assert len(service.left) == asked


def test_events_are_sent_in_requests_that_the_service_takes_and_the_callers_own_stay_as_they_are() -> None:
    events = [ProductEvent(upsert=Product(product_id=f"p{i}")) for i in range(EVENTS_AT_ONCE + 1)]
    made = list(batches(events))
    assert [len(batch) for batch in made] == [EVENTS_AT_ONCE, 1]
    assert len({event.event_id for batch in made for event in batch}) == EVENTS_AT_ONCE + 1
    assert not events[0].event_id
    large = [ProductEvent(upsert=Product(product_id=f"p{i}", description="x" * 3_000_000)) for i in range(4)]
    assert [len(batch) for batch in batches(large)] == [2, 2]


def test_tokens_are_kept_of_the_last_shoppers_alone() -> None:
    tokens = Tokens(most=2)
    tokens.remember(["ann"], "1")
    tokens.remember(["bob"], "2")
    tokens.remember(["ann"], "3")
    tokens.remember(["cid"], "4")
    assert (tokens.of("ann"), tokens.of("bob"), tokens.of("cid")) == (("3",), (), ("4",))
