"""IngestionService: events over gRPC, checked whole, published, and answered once Kafka has confirmed them.

May import codec, domain, errors and this room. The producer is handed in.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Sequence
from typing import Any, NoReturn, TypeAlias

import grpc
from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2

from freshet import tracing
from freshet.codec.tokens import write_token
from freshet.domain.progress import Position
from freshet.errors import DependencyDown, InvalidInput
from freshet.ingest import measures
from freshet.ingest.confirmations import Unconfirmed, gathered
from freshet.ingest.records import Event, Outgoing, Publishes, RecordWriter
from freshet.v1 import ingestion_service_pb2 as pb
from freshet.v1 import ingestion_service_pb2_grpc

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
EVENTS_PER_REQUEST = 1_000
REQUEST_BYTES = 16 * 2**20
UNCONFIRMED_BYTES = 64 * 2**20
RECORD_BYTES_BESIDES = 1_024
"""Key, headers and what Kafka's client and we keep of a record. It also keeps the room below the 100,000 records that
the client's own queue takes, in which a publish would wait, and the event loop with it."""
VIOLATIONS_TOLD = 100
DETAILS_BYTES = 2_500
"""Of a refusal. It travels in trailing metadata, beside its message twice, and clients refuse more than 8 KiB of it."""
STREAM_BATCH = 500
STREAM_BATCHES_UNCONFIRMED = 4
_METHODS = {"events": "PublishProducts", "reviews": "PublishReviews", "interactions": "PublishInteractions"}
DEADLINE_SECONDS = 10.0
"""For calls that come without a deadline, and for each batch of a stream."""


class IngestionService(ingestion_service_pb2_grpc.IngestionServiceServicer):
    """Built inside a running loop's process; connects to nothing itself."""

    def __init__(
        self, producer: Publishes, records: RecordWriter, *, unconfirmed_bytes: int = UNCONFIRMED_BYTES
    ) -> None:
        self._producer = producer
        self._records = records
        self._room = Unconfirmed(unconfirmed_bytes)
        measures.UNCONFIRMED.set_function(lambda: self.unconfirmed_bytes)

    @property
    def unconfirmed_bytes(self) -> int:
        """Published, and not confirmed by Kafka yet."""
        return self._room.held_bytes

    async def PublishProducts(self, request: pb.PublishProductsRequest, context: Context) -> pb.PublishResponse:
        with tracing.serving("PublishProducts", context.invocation_metadata()):
            return await self._publish("events", request.events, context)

    async def PublishReviews(self, request: pb.PublishReviewsRequest, context: Context) -> pb.PublishResponse:
        with tracing.serving("PublishReviews", context.invocation_metadata()):
            return await self._publish("reviews", request.reviews, context)

    async def PublishInteractions(self, request: pb.PublishInteractionsRequest, context: Context) -> pb.PublishResponse:
        with tracing.serving("PublishInteractions", context.invocation_metadata()):
            return await self._publish("interactions", request.interactions, context)

    async def PublishStream(
        self, requests: AsyncIterator[pb.PublishStreamRequest], context: Context
    ) -> pb.PublishStreamResponse:
        with tracing.serving("PublishStream", context.invocation_metadata()):
            return await self._publish_stream(requests, context)

    async def _publish_stream(
        self, requests: AsyncIterator[pb.PublishStreamRequest], context: Context
    ) -> pb.PublishStreamResponse:
        answer = pb.PublishStreamResponse()
        last: dict[tuple[str, int], Position] = {}
        waiting: deque[asyncio.Future[list[Position]]] = deque()
        batch: list[Outgoing] = []

        async def settle(most: int) -> None:
            while len(waiting) > most:
                positions = await _within(waiting[0], self._seconds(context))
                measures.count_published(positions)
                for position in positions:
                    place = (position.topic, position.partition)
                    if place not in last or last[place].offset < position.offset:
                        last[place] = position
                waiting.popleft()

        try:
            index = 0
            async for request in requests:
                try:
                    batch.append(self._records.write(_streamed(request), time.time_ns() // 1_000))
                    answer.published_count += 1
                except InvalidInput as error:
                    _reject(answer, index, error)
                index += 1
                if len(batch) >= STREAM_BATCH:
                    # Not reading on is what makes the caller slow down: HTTP/2 flow control does the rest.
                    waiting.append(await self._send(batch, self._seconds(context)))
                    batch = []
                    await settle(STREAM_BATCHES_UNCONFIRMED)
            if batch:
                waiting.append(await self._send(batch, self._seconds(context)))
            await settle(0)
        except DependencyDown as error:
            await context.abort(grpc.StatusCode.UNAVAILABLE, str(error))
        finally:
            for future in waiting:
                future.cancel()
        if last:
            answer.consistency_token = write_token(last.values())
        return answer

    async def _publish(self, name: str, events: Sequence[Event], context: Context) -> pb.PublishResponse:
        if not events:
            await _refuse(context, [InvalidInput(name, f"is empty; send 1 to {EVENTS_PER_REQUEST:,}")])
        if len(events) > EVENTS_PER_REQUEST:
            await context.abort(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                f"{len(events):,} events in one request; at most {EVENTS_PER_REQUEST:,} are allowed. "
                "Send several requests, or use PublishStream",
            )
        now_us = time.time_ns() // 1_000
        outgoing: list[Outgoing] = []
        wrong: list[InvalidInput] = []
        for index, event in enumerate(events):
            try:
                outgoing.append(self._records.write(event, now_us))
            except InvalidInput as error:
                path = f"{name}[{index}].{error.field}" if error.field else f"{name}[{index}]"
                wrong.append(InvalidInput(path, error.description))
        if wrong:
            measures.REFUSED.labels(_METHODS[name]).inc(len(wrong))
            await _refuse(context, wrong)
        seconds = self._seconds(context)
        begun = time.monotonic()
        try:
            confirmed = await self._send(outgoing, seconds)
            positions = await _within(confirmed, seconds - (time.monotonic() - begun))
        except DependencyDown as error:
            await context.abort(grpc.StatusCode.UNAVAILABLE, str(error))
        measures.count_published(positions)
        measures.PUBLISH_SECONDS.labels(_METHODS[name]).observe(time.monotonic() - begun)
        return pb.PublishResponse(
            consistency_token=write_token(positions),
            published_count=len(positions),
            event_ids=[record.event_id for record in outgoing],
        )

    async def _send(self, outgoing: Sequence[Outgoing], seconds: float) -> asyncio.Future[list[Position]]:
        size = sum(len(record.value) + RECORD_BYTES_BESIDES for record in outgoing)
        await self._room.reserve(size, seconds)
        try:
            sent = [record.send(self._producer) for record in outgoing]
        except BaseException:
            self._room.release(size)
            raise
        return gathered(sent, lambda: self._room.release(size))

    @staticmethod
    def _seconds(context: Context) -> float:
        """How long to wait for Kafka: less than the caller waits for us, so that our answer still arrives."""
        left = context.time_remaining()
        if left is None:
            return DEADLINE_SECONDS
        return float(max(0.0, left - min(0.25, 0.2 * left)))


async def _within(confirmed: asyncio.Future[list[Position]], seconds: float) -> list[Position]:
    try:
        return await asyncio.wait_for(confirmed, max(0.0, seconds))
    except TimeoutError as error:
        raise DependencyDown(
            "kafka",
            f"not confirmed within {seconds:.1f} s. The events may still arrive: send them again, with the same ids",
        ) from error


def _streamed(request: pb.PublishStreamRequest) -> Event:
    name = request.WhichOneof("event")
    if name is None:
        raise InvalidInput("event", "is required: one of product, review, interaction")
    event: Event = getattr(request, name)
    return event


def _reject(answer: pb.PublishStreamResponse, index: int, error: InvalidInput) -> None:
    answer.rejected_count += 1
    measures.REFUSED.labels("PublishStream").inc()
    if len(answer.rejections) < VIOLATIONS_TOLD:
        answer.rejections.add(index=index, field=error.field, description=error.description)


async def _refuse(context: Context, wrong: Sequence[InvalidInput]) -> NoReturn:
    """INVALID_ARGUMENT with a field violation for each of the first bad events (https://google.aip.dev/193)."""
    told = error_details_pb2.BadRequest()
    for error in wrong:
        told.field_violations.add(field=error.field, description=error.description)
        if told.ByteSize() > DETAILS_BYTES and len(told.field_violations) > 1:
            del told.field_violations[-1]
            break
    details = any_pb2.Any()
    details.Pack(told)
    more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
    message = f"{wrong[0]}{more}; nothing was published"
    status = status_pb2.Status(code=code_pb2.INVALID_ARGUMENT, message=message, details=[details])
    await context.abort(
        grpc.StatusCode.INVALID_ARGUMENT,
        message,
        trailing_metadata=(("grpc-status-details-bin", status.SerializeToString()),),
    )
    raise AssertionError("abort raises")
