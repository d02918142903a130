"""Logs, metrics and health of every process: structlog, as lines for people or as JSON; Prometheus over HTTP."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import sys
import time
from collections.abc import Callable
from typing import Any

import structlog
from prometheus_client import Gauge, Histogram, disable_created_metrics, start_http_server

from freshet import tracing
from freshet.errors import ConfigurationError
from freshet.settings import Settings

FRESHNESS = Histogram(
    "freshet_freshness_seconds",
    "From a record's own time in Kafka until what it says is visible: the oldest record of each batch and event.",
    ["event"],
    buckets=[0.001, 0.002, 0.003, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300, 3600],
)
"""Interactions are visible when the profile worker has written them; product, hidden (a product made unavailable),
removal and review when the recommend process has them in memory. One observation per batch and event, of its oldest
record: under load an upper bound."""
MODEL = Gauge(
    "freshet_model_info", "1 for the version of the model whose vectors this process works with.", ["version"]
)

TICK_SECONDS = 1.0
HUNG_SECONDS = 30.0
"""An event loop that has not come round for so long hangs."""


class Heartbeat:
    """When an event loop last came round. The loop runs `run`; any thread may ask for `silent_seconds`."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last = clock()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self.tick()
            await asyncio.sleep(TICK_SECONDS)

    def tick(self) -> None:
        self._last = self._clock()

    @property
    def silent_seconds(self) -> float:
        """Since the last tick; before the first, since this was made."""
        return self._clock() - self._last


def tell_model(version: str) -> None:
    """Which model this process works with, as a metric."""
    MODEL.labels(version).set(1)


def serve_metrics(settings: Settings, offset: int = 0, heartbeat: Heartbeat | None = None) -> None:
    """Answer Prometheus on `metrics_port` + `offset`, in a thread; nothing when the port is 0.

    `/healthz` beside it answers 503 once `heartbeat` has been silent for HUNG_SECONDS, else 200; without a heartbeat it
    tells only that the process lives. Raises ConfigurationError when the address is taken.
    """
    if not settings.metrics_port:
        return
    disable_created_metrics()  # type: ignore[no-untyped-call]
    port = settings.metrics_port + offset
    try:
        server, _ = start_http_server(port, addr=settings.metrics_host)
    except OSError as error:
        raise ConfigurationError(
            f"cannot serve metrics on {settings.metrics_host}:{port}: {error.strerror}; set FRESHET_METRICS_PORT"
        ) from error
    server.set_app(_with_health(server.get_app(), heartbeat))


def _with_health(metrics: Any, heartbeat: Heartbeat | None) -> Any:
    """The WSGI application `metrics`, and `/healthz`."""

    def answer(environ: dict[str, Any], start_response: Any) -> Any:
        if environ["PATH_INFO"] != "/healthz":
            return metrics(environ, start_response)
        silent = 0.0 if heartbeat is None else heartbeat.silent_seconds
        hangs = silent >= HUNG_SECONDS
        start_response("503 Service Unavailable" if hangs else "200 OK", [("Content-Type", "text/plain")])
        return [f"the event loop has not come round for {silent:.0f} s\n".encode() if hangs else b"ok\n"]

    return answer


def configure_logging(settings: Settings, process: str) -> None:
    """Send structlog and the standard library's loggers to standard error, marked with the process's name.

    An event's `user_id` is written as `user_hash`, but at level debug; `trace` is added where one is followed.
    """
    level = getattr(logging, settings.log_level.upper())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        _without_users,
        _with_trace,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info if settings.log_format == "json" else _keep,
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if settings.log_format == "json"
        else structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for noisy in ("alembic", "aiokafka", "faust", "mode", "asyncio", "httpx", "pymilvus"):
        logging.getLogger(noisy).setLevel(max(level, logging.WARNING))
    structlog.contextvars.bind_contextvars(process=process)


def user_hash(user_id: str) -> str:
    """What logs call a shopper: 16 hexadecimal digits, the same in every process. A pseudonym: who can guess an id can
    tell whether a line is theirs."""
    return hashlib.blake2b(user_id.encode("utf-8", "backslashreplace"), digest_size=8).hexdigest()


def _without_users(_logger: object, _name: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    if "user_id" in event and event.get("level") != "debug":
        event["user_hash"] = user_hash(str(event.pop("user_id")))
    return event


def _with_trace(_logger: object, _name: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    if trace := tracing.current():
        event["trace"] = trace
    return event


def _keep(_logger: object, _name: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    return event
