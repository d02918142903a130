"""The ingest process: a grpc.aio server with health and reflection. May import this room, settings and errors."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import grpc
import structlog
from grpc_health.v1 import _async as aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from freshet import garbage
from freshet.errors import ConfigurationError, DependencyDown
from freshet.ingest.service import REQUEST_BYTES, IngestionService
from freshet.settings import IngestSettings
from freshet.v1 import ingestion_service_pb2, ingestion_service_pb2_grpc

SERVICE = str(ingestion_service_pb2.DESCRIPTOR.services_by_name["IngestionService"].full_name)
CHECK_SECONDS = 5.0
_log = structlog.get_logger(__name__)


@asynccontextmanager
async def running(
    service: IngestionService, settings: IngestSettings, check: Callable[[], object]
) -> AsyncIterator[str]:
    """Serve, and yield the address (`host:port`; port 0 takes a free one). Stops gracefully.

    `check` blocks and raises DependencyDown while Kafka is away; health follows it. Raises ConfigurationError.
    """
    server = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", REQUEST_BYTES),
            ("grpc.so_reuseport", 0),
        ]
    )
    ingestion_service_pb2_grpc.add_IngestionServiceServicer_to_server(service, server)  # type: ignore[no-untyped-call]
    state = aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(state, server)
    reflection.enable_server_reflection((SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
    try:
        port = server.add_insecure_port(f"{settings.host}:{settings.port}")
    except RuntimeError as error:
        raise ConfigurationError(
            f"cannot listen on {settings.host}:{settings.port}: it is in use; set FRESHET_INGEST__PORT"
        ) from error
    await server.start()
    garbage.settle()
    watching = asyncio.create_task(_watch(state, check))
    try:
        yield f"{settings.host}:{port}"
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
        await state.enter_graceful_shutdown()
        await server.stop(grace=3.0)


async def _watch(state: aio.HealthServicer, check: Callable[[], object]) -> None:
    """Health is what was found when Kafka was last asked, never an assumption."""
    was: object = None
    while True:
        try:
            await asyncio.to_thread(check)
            now = health_pb2.HealthCheckResponse.SERVING
        except DependencyDown as error:
            now = health_pb2.HealthCheckResponse.NOT_SERVING
            _log.warning("ingest.not_serving", reason=str(error))
        if now != was:
            for name in ("", SERVICE):
                await state.set(name, now)
            was = now
        await asyncio.sleep(CHECK_SECONDS)
