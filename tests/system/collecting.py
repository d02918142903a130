"""A small real OTLP receiver: the collector's TraceService over gRPC, keeping what it is sent."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as pb
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as rpc


@dataclass(frozen=True)
class Seen:
    """One span, with the process that sent it."""

    service: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    begun_ns: int
    ended_ns: int
    attributes: dict[str, str]
    links: tuple[str, ...]
    """Trace ids."""


class Collector(rpc.TraceServiceServicer):
    """Listens on a free port of loopback."""

    def __init__(self) -> None:
        self._spans: list[Seen] = []
        self._changed = threading.Condition()
        self._server = grpc.server(ThreadPoolExecutor(4, thread_name_prefix="otlp"))
        rpc.add_TraceServiceServicer_to_server(self, self._server)
        self.endpoint = f"http://127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def Export(self, request: pb.ExportTraceServiceRequest, context: Any) -> pb.ExportTraceServiceResponse:
        with self._changed:
            for resource in request.resource_spans:
                service = _attributes(resource.resource.attributes)["service.name"]
                for scope in resource.scope_spans:
                    self._spans += [_seen(service, span) for span in scope.spans]
            self._changed.notify_all()
        return pb.ExportTraceServiceResponse()

    def wait(self, trace_id: str, enough: Callable[[list[Seen]], bool], seconds: float = 30.0) -> list[Seen]:
        """The spans of a trace, by when they began, once there are enough."""
        deadline = time.monotonic() + seconds
        with self._changed:
            while not enough(found := self._of(trace_id)):
                left = deadline - time.monotonic()
                assert left > 0, f"of trace {trace_id} there are only {[span.name for span in found]}"
                self._changed.wait(left)
        return found

    def named(self, name: str) -> list[Seen]:
        with self._changed:
            return [span for span in self._spans if span.name == name]

    def _of(self, trace_id: str) -> list[Seen]:
        return sorted((span for span in self._spans if span.trace_id == trace_id), key=lambda span: span.begun_ns)

    def close(self) -> None:
        self._server.stop(1.0).wait()


def _seen(service: str, span: Any) -> Seen:
    return Seen(
        service,
        span.name,
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        span.start_time_unix_nano,
        span.end_time_unix_nano,
        _attributes(span.attributes),
        tuple(link.trace_id.hex() for link in span.links),
    )


def _attributes(pairs: Any) -> dict[str, str]:
    return {pair.key: str(getattr(pair.value, pair.value.WhichOneof("value"))) for pair in pairs}
