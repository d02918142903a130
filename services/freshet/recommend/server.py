"""The gRPC face of the room: RecommendationService, health and reflection. May import the room, the contract, grpc."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias, TypeVar

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_health.v1 import _async as aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from freshet import tracing
from freshet.errors import DependencyDown, InvalidInput, NotFound
from freshet.recommend import measures
from freshet.recommend.requests import read_recommend, read_search, read_similar
from freshet.recommend.search import Searcher
from freshet.recommend.service import Recommender
from freshet.recommend.under_way import UnderWay
from freshet.v1 import recommendation_service_pb2 as pb
from freshet.v1 import recommendation_service_pb2_grpc as rpc

SERVICE = pb.DESCRIPTOR.services_by_name["RecommendationService"].full_name
STOP_SECONDS = 5.0
MESSAGE_BYTES = 8 * 2**20
"""A search may bring its picture."""
RETRY_SECONDS = 1

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Response = TypeVar("Response", pb.RecommendResponse, pb.ListSimilarProductsResponse, pb.SearchProductsResponse)


class RecommendationServicer(rpc.RecommendationServiceServicer):
    """Checks, hands on, and turns errors into statuses with details (BadRequest, ResourceInfo, RetryInfo)."""

    def __init__(
        self,
        recommender: Recommender,
        searcher: Searcher,
        topics: frozenset[str],
        under_way: UnderWay,
        *,
        deadline_seconds: float,
        wait_longest_seconds: float,
        model_seconds: float = 0.5,
        first_uses: tracing.FirstUses | None = None,
    ) -> None:
        self._recommender, self._searcher, self._topics, self._under_way = recommender, searcher, topics, under_way
        self._model_seconds = model_seconds
        self._first_uses = first_uses or tracing.FirstUses()
        self._deadline_seconds, self._wait_longest = deadline_seconds, wait_longest_seconds

    async def Recommend(self, request: pb.RecommendRequest, context: Context) -> pb.RecommendResponse:
        async def answer() -> pb.RecommendResponse:
            asked = read_recommend(request, self._topics, self._wait_longest)
            return await self._recommender.recommend(asked, self._seconds(context, asked.at_least, asked.wait_seconds))

        return await self._traced("Recommend", answer, context)

    async def ListSimilarProducts(
        self, request: pb.ListSimilarProductsRequest, context: Context
    ) -> pb.ListSimilarProductsResponse:
        async def answer() -> pb.ListSimilarProductsResponse:
            asked = read_similar(request, self._topics, self._wait_longest)
            return await self._recommender.list_similar(
                asked, self._seconds(context, asked.at_least, asked.wait_seconds)
            )

        return await self._traced("ListSimilarProducts", answer, context)

    async def SearchProducts(self, request: pb.SearchProductsRequest, context: Context) -> pb.SearchProductsResponse:
        async def answer() -> pb.SearchProductsResponse:
            asked = read_search(request, self._topics, self._wait_longest, self._model_seconds)
            return await self._searcher.search(asked, self._seconds(context, asked.at_least, asked.wait_seconds))

        return await self._traced("SearchProducts", answer, context)

    async def _traced(self, method: str, answer: Callable[[], Awaitable[Response]], context: Context) -> Response:
        with self._under_way.one():
            if not tracing.on():
                return await _answered(method, answer, context)
            begun_ns = time.time_ns()
            with tracing.serving(method, context.invocation_metadata()):
                response = await _answered(method, answer, context)
                self._first_uses.answered(method, [product.product_id for product in response.products], begun_ns)
                return response

    def _seconds(self, context: Context, at_least: tuple[Any, ...], wait_seconds: float) -> float:
        """The caller's deadline; without one our own, which a wait that was asked for does not eat up."""
        left = context.time_remaining()
        if left is not None:
            return float(left)
        return self._deadline_seconds + (wait_seconds if at_least else 0.0)


async def _answered(method: str, answer: Callable[[], Awaitable[Response]], context: Context) -> Response:
    begun = time.perf_counter()
    code = "OK"
    try:
        response = await answer()
    except InvalidInput as error:
        code = "INVALID_ARGUMENT"
        violation = error_details_pb2.BadRequest.FieldViolation(field=error.field, description=error.description)
        await _abort(context, code, str(error), error_details_pb2.BadRequest(field_violations=[violation]))
    except NotFound as error:
        code = "NOT_FOUND"
        await _abort(context, code, str(error), error_details_pb2.ResourceInfo(resource_type="product"))
    except DependencyDown as error:
        code = "UNAVAILABLE"
        await _abort(
            context, code, str(error), error_details_pb2.RetryInfo(retry_delay=Duration(seconds=RETRY_SECONDS))
        )
    finally:
        measures.REQUEST_SECONDS.labels(method, code).observe(time.perf_counter() - begun)
    if response.freshness.degraded:
        measures.DEGRADED.labels(method).inc()
    if not response.freshness.at_least_reached:
        measures.LATE.labels(method).inc()
    return response


async def _abort(context: Context, code: str, message: str, detail: Any) -> None:
    """Ends the call; raises grpc.aio.AbortError. Source: https://grpc.io/docs/guides/error/ (richer error model)."""
    packed = AnyMessage()
    packed.Pack(detail)
    status = status_pb2.Status(code=code_pb2.Code.Value(code), message=message, details=[packed])
    await context.abort(
        grpc.StatusCode[code], message, trailing_metadata=(("grpc-status-details-bin", status.SerializeToString()),)
    )


class Server:
    """A gRPC server on one address. Building it connects nothing; `start` binds."""

    def __init__(self, servicer: RecommendationServicer, host: str, port: int, *, share_port: bool = False) -> None:
        self._host, self._wanted_port = host, port
        self._server = grpc.aio.server(
            options=[
                ("grpc.so_reuseport", int(share_port)),
                ("grpc.max_receive_message_length", MESSAGE_BYTES),
                ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
            ]
        )
        rpc.add_RecommendationServiceServicer_to_server(servicer, self._server)  # type: ignore[no-untyped-call]
        self.health = aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self.health, self._server)
        reflection.enable_server_reflection((SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME), self._server)
        self.port = 0

    async def start(self) -> None:
        """Raises RuntimeError when the address is taken."""
        self.port = self._server.add_insecure_port(f"{self._host}:{self._wanted_port}")
        await self.ready(False)
        await self._server.start()

    async def ready(self, yes: bool) -> None:
        """What grpc.health.v1 says, of the server and of the service."""
        status = health_pb2.HealthCheckResponse.SERVING if yes else health_pb2.HealthCheckResponse.NOT_SERVING
        for name in ("", SERVICE):
            await self.health.set(name, status)

    async def stop(self) -> None:
        """Says NOT_SERVING, takes no new calls and finishes those under way."""
        await self.health.enter_graceful_shutdown()
        await self._server.stop(STOP_SECONDS)
