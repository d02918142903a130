"""The gRPC service over a real channel, publishing into a log kept in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import Future
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status
from kept_log import KeptLog

from freshet.codec import wire
from freshet.codec.tokens import read_token
from freshet.domain.progress import Position
from freshet.errors import DependencyDown
from freshet.ingest.confirmations import Unconfirmed
from freshet.ingest.records import RecordWriter
from freshet.ingest.server import SERVICE, running
from freshet.ingest.service import EVENTS_PER_REQUEST, IngestionService
from freshet.settings import IngestSettings, Topics
from freshet.v1 import ingestion_service_pb2 as pb
from freshet.v1 import ingestion_service_pb2_grpc, interaction_pb2, product_pb2


@asynccontextmanager
async def serving(log: KeptLog, check: Any = lambda: None) -> AsyncIterator[Any]:
    service = IngestionService(log, RecordWriter(Topics(), source="test", record_bytes=1_000_000))
    async with (
        running(service, IngestSettings(port=0), check) as address,
        grpc.aio.insecure_channel(address) as channel,
    ):
        yield ingestion_service_pb2_grpc.IngestionServiceStub(channel), channel


def click(user: str = "u1", product: str = "p1", **more: Any) -> interaction_pb2.Interaction:
    return interaction_pb2.Interaction(user_id=user, product_id=product, kind="CLICK", **more)


def product(product_id: str = "p1", **more: Any) -> product_pb2.ProductEvent:
    return product_pb2.ProductEvent(upsert=product_pb2.Product(product_id=product_id, **more))


async def test_published_interactions_carry_key_id_and_cloud_event_headers() -> None:
    log = KeptLog()
    async with serving(log) as (stub, _):
        answer = await stub.PublishInteractions(
            pb.PublishInteractionsRequest(interactions=[click(), click("u2", event_id="mine")])
        )
    assert answer.published_count == 2
    assert answer.event_ids[1] == "mine"
    assert len(answer.event_ids[0]) == 36
    assert read_token(answer.consistency_token) == (Position("freshet.interactions.v1", 0, 1),)
    key, value, headers = log.records["freshet.interactions.v1"][0]
    assert key == "u1"
    assert wire.decode(value, headers, interaction_pb2.Interaction).event_id == answer.event_ids[0]
    assert wire.header(headers, "ce_id") == answer.event_ids[0]
    assert wire.header(headers, "ce_type") == "freshet.v1.interaction"
    assert wire.header(headers, "ce_specversion") == "1.0"


async def test_one_bad_event_names_its_field_and_nothing_of_the_request_is_published() -> None:
    log = KeptLog()
    events = [product(), product("p2"), product("p3"), product("p4", price=-1.0), product("")]
    async with serving(log) as (stub, _):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.PublishProducts(pb.PublishProductsRequest(events=events))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert not log.records
    status = rpc_status.from_call(caught.value)
    details = error_details_pb2.BadRequest()
    assert status.details[0].Unpack(details)
    assert [violation.field for violation in details.field_violations] == [
        "events[3].upsert.price",
        "events[4].upsert.product_id",
    ]


async def test_an_empty_request_and_one_that_is_too_long_are_refused() -> None:
    picture = product_pb2.Image(content=bytes(17 * 2**20))
    async with serving(KeptLog()) as (stub, _):
        with pytest.raises(grpc.aio.AioRpcError) as empty:
            await stub.PublishReviews(pb.PublishReviewsRequest())
        with pytest.raises(grpc.aio.AioRpcError) as long:
            await stub.PublishInteractions(pb.PublishInteractionsRequest(interactions=[click()] * 1_001))
        with pytest.raises(grpc.aio.AioRpcError) as large:
            await stub.PublishProducts(pb.PublishProductsRequest(events=[product(image=picture)]))
    assert empty.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert long.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert large.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_a_kafka_that_does_not_answer_is_unavailable_before_the_deadline() -> None:
    async with serving(KeptLog(answers=False)) as (stub, _):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.PublishInteractions(pb.PublishInteractionsRequest(interactions=[click()]), timeout=3.0)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE, "at the deadline itself it would be DEADLINE_EXCEEDED"
    assert "kafka" in caught.value.details()


async def test_however_small_events_are_what_waits_for_kafka_stays_below_its_clients_queue() -> None:
    """With 100,000 records the client's publish waits, and the event loop with it: health would not answer."""
    log = KeptLog(answers=False)
    request = pb.PublishInteractionsRequest(interactions=[click()] * EVENTS_PER_REQUEST)
    async with serving(log) as (stub, _):
        calls = [stub.PublishInteractions(request, timeout=5.0) for _ in range(120)]
        ended = await asyncio.gather(*calls, return_exceptions=True)
    assert {error.code() for error in ended if isinstance(error, grpc.aio.AioRpcError)} <= {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
    }
    assert all(isinstance(error, grpc.aio.AioRpcError) for error in ended)
    assert 10_000 < len(log.records["freshet.interactions.v1"]) < 100_000


async def test_a_producer_that_breaks_leaves_the_room_free() -> None:
    class Broken(KeptLog):
        def publish(self, *arguments: Any, **named: Any) -> Future[Position]:
            raise RuntimeError("broken")

    service = IngestionService(Broken(), RecordWriter(Topics(), source="test", record_bytes=1_000_000))
    async with (
        running(service, IngestSettings(port=0), lambda: None) as address,
        grpc.aio.insecure_channel(address) as channel,
    ):
        stub = ingestion_service_pb2_grpc.IngestionServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError):
            await stub.PublishInteractions(pb.PublishInteractionsRequest(interactions=[click()]), timeout=30.0)
    assert service.unconfirmed_bytes == 0


async def test_a_stream_counts_bad_events_and_goes_on() -> None:
    log = KeptLog()

    async def events() -> AsyncIterator[pb.PublishStreamRequest]:
        for number in range(1_200):
            yield pb.PublishStreamRequest(interaction=click(f"u{number}"))
        yield pb.PublishStreamRequest(product=product(price=float("nan")))
        yield pb.PublishStreamRequest()
        yield pb.PublishStreamRequest(review=product_pb2.Review(review_id="r", product_id="p", rating=4))

    async with serving(log) as (stub, _):
        answer = await stub.PublishStream(events())
    assert (answer.published_count, answer.rejected_count) == (1_201, 2)
    assert [(r.index, r.field) for r in answer.rejections] == [(1_200, "upsert.price"), (1_201, "event")]
    assert set(read_token(answer.consistency_token)) == {
        Position("freshet.interactions.v1", 0, 1_199),
        Position("freshet.reviews.v1", 0, 0),
    }


async def test_health_follows_what_the_check_finds() -> None:
    def away() -> None:
        raise DependencyDown("kafka", "away")

    async with serving(KeptLog(), away) as (_, channel):
        health = health_pb2_grpc.HealthStub(channel)
        async for state in health.Watch(health_pb2.HealthCheckRequest(service=SERVICE)):
            if state.status != health_pb2.HealthCheckResponse.SERVICE_UNKNOWN:
                break
        assert state.status == health_pb2.HealthCheckResponse.NOT_SERVING


async def test_a_full_room_makes_the_next_caller_wait_until_there_is_space() -> None:
    room = Unconfirmed(100)
    await room.reserve(80, 1.0)
    with pytest.raises(DependencyDown):
        await room.reserve(30, 0.01)
    waiting = asyncio.create_task(room.reserve(30, 5.0))
    room.release(80)
    await waiting
    assert room.held_bytes == 30
