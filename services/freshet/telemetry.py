"""Logs and metrics of every process: structlog, as lines for people or as JSON; Prometheus over HTTP."""

from __future__ import annotations

import hashlib
import logging
import sys

import structlog
from prometheus_client import Histogram, disable_created_metrics, start_http_server

from freshet import tracing
from freshet.errors import ConfigurationError
from freshet.settings import Settings

FRESHNESS = Histogram(
    "freshet_freshness_seconds",
    "From a record's own time in Kafka until what it says is visible: the oldest record of each batch and event.",
    ["event"],
    buckets=[0.001, 0.002, 0.003, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300, 3600],
)
"""Interactions are visible when the profile worker has written them; product, removal and review when the recommend
process has them in memory. One observation per batch and event, of its oldest record: under load an upper bound."""


def serve_metrics(settings: Settings, offset: int = 0) -> None:
    """Answer Prometheus on `metrics_port` + `offset`, in a thread; nothing when the port is 0.

    Raises ConfigurationError when the address is taken.
    """
    if not settings.metrics_port:
        return
    disable_created_metrics()  # type: ignore[no-untyped-call]
    port = settings.metrics_port + offset
    try:
        start_http_server(port, addr=settings.metrics_host)
    except OSError as error:
        raise ConfigurationError(
            f"cannot serve metrics on {settings.metrics_host}:{port}: {error.strerror}; set FRESHET_METRICS_PORT"
        ) from error


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
