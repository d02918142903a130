"""Traces of events by OpenTelemetry, through W3C traceparent headers. May import settings, domain and errors.

Off unless `otlp_endpoint` is set: then nothing of OpenTelemetry is loaded, no header is read and no span made. An
event's trace goes from its publisher through Kafka's headers to the worker that applies it, with what that asks of
Triton, SQL and Milvus, and on with the representation to the index worker, the recommend service and the first answer
that shows the product.
Source: W3C Trace Context 1; OpenTelemetry's semantic conventions for messaging (batches link to their messages).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar

from freshet.domain.progress import Position
from freshet.errors import ConfigurationError
from freshet.settings import Settings

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span, Tracer

Headers: TypeAlias = Sequence[tuple[str, bytes | None]]
T = TypeVar("T")
HEADER = "traceparent"
LINKS_MOST = 128
"""The SDK's own limit: a batch links to no more events than this."""

_tracer: Tracer | None = None
_provider: TracerProvider | None = None
_NOTHING: AbstractContextManager[None] = nullcontext()
_events: ContextVar[Mapping[tuple[str, int, int], Span] | None] = ContextVar("events", default=None)
"""The spans of the batch in hand, by the event's place in Kafka."""


class Record(Protocol):
    """A record of Kafka, as workers and readers have them."""

    @property
    def headers(self) -> Headers: ...


class RunRecord(Record, Protocol):
    @property
    def offset(self) -> int: ...


class Run(Protocol):
    """freshet.stream.batches.Run is one."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def records(self) -> Sequence[Any]: ...


def on() -> bool:
    return _tracer is not None


def start(settings: Settings, process: str) -> None:
    """Send spans to `otlp_endpoint` from now on; nothing when it is empty.

    Raises ConfigurationError when OpenTelemetry is not installed.
    """
    global _tracer, _provider
    if not settings.otlp_endpoint or _tracer is not None:
        return
    try:
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
    except ImportError as error:
        raise ConfigurationError(
            f"otlp_endpoint is set and {error.name} is not installed: pip install 'freshet[telemetry]', or unset "
            "FRESHET_OTLP_ENDPOINT"
        ) from error
    exporter = OTLPSpanExporter(
        endpoint=settings.otlp_endpoint, insecure=not settings.otlp_endpoint.startswith("https://")
    )
    _provider = TracerProvider(
        resource=Resource.create({"service.name": f"freshet-{process}", "service.namespace": "freshet"}),
        sampler=ParentBased(TraceIdRatioBased(settings.trace_ratio)),
    )
    _provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=1_000))
    _tracer = _provider.get_tracer("freshet")


def stop() -> None:
    """Send what is left. Takes seconds at most."""
    global _tracer, _provider
    if _provider is not None:
        _provider.shutdown()
    _tracer = _provider = None


def current() -> str:
    """The trace that is being followed here, as 32 hexadecimal digits; empty where there is none."""
    if _tracer is None:
        return ""
    from opentelemetry import trace

    context = trace.get_current_span().get_span_context()
    return f"{context.trace_id:032x}" if context.is_valid else ""


def span(name: str, **attributes: str | int) -> AbstractContextManager[Any]:
    """A part of what is being traced here; nothing where nothing is."""
    if _tracer is None:
        return _NOTHING
    from opentelemetry import trace

    if not trace.get_current_span().get_span_context().is_valid:
        return _NOTHING
    return _tracer.start_as_current_span(name, attributes=attributes, kind=trace.SpanKind.CLIENT)


def serving(method: str, metadata: Any) -> AbstractContextManager[Any]:
    """A gRPC call, in the caller's trace where its metadata name one."""
    if _tracer is None:
        return _NOTHING
    from opentelemetry.trace import SpanKind

    found = next((str(value) for key, value in metadata or () if key == HEADER), "")
    parent = _context(found.encode(), unsampled=True)
    return _tracer.start_as_current_span(method, context=parent, kind=SpanKind.SERVER)


def publishing(topic: str, headers: Headers, publish: Callable[[Headers], Future[T]]) -> Future[T]:
    """Call `publish` with headers that carry the trace."""
    if _tracer is None:
        return publish(headers)
    made = _publishes(_tracer, topic)
    return _until_confirmed([made], publish(_carrying(headers, made)))


def publishing_all(
    topic: str,
    headers: Sequence[Headers],
    publish: Callable[[Sequence[Headers]], Future[T]],
    causes: Sequence[Position | None],
) -> Future[T]:
    """Call `publish` once, with each record's headers. `causes`: the events of the batch in hand that these are due to;
    a record carries a trace where its cause is traced."""
    if _tracer is None:
        return publish(headers)
    from opentelemetry import trace

    traced = _events.get() or {}
    causing = [None if cause is None else traced.get((cause.topic, cause.partition, cause.offset)) for cause in causes]
    made = [
        None if event is None else _publishes(_tracer, topic, trace.set_span_in_context(event)) for event in causing
    ]
    carried = [each if span is None else _carrying(each, span) for each, span in zip(headers, made, strict=True)]
    return _until_confirmed([span for span in made if span is not None], publish(carried))


def _publishes(tracer: Tracer, topic: str, parent: Context | None = None) -> Span:
    """The span of a record's way to Kafka."""
    from opentelemetry.trace import SpanKind

    attributes = {"messaging.system": "kafka", "messaging.destination.name": topic}
    return tracer.start_span(f"publish {topic}", context=parent, kind=SpanKind.PRODUCER, attributes=attributes)


def _carrying(headers: Headers, made: Span) -> Headers:
    return [*(pair for pair in headers if pair[0] != HEADER), (HEADER, _traceparent(made))]


def _until_confirmed(spans: Sequence[Span], future: Future[T]) -> Future[T]:
    from opentelemetry.trace import Status, StatusCode

    def confirmed(done: Future[T]) -> None:
        error = done.exception()
        for made in spans:
            if error is not None:
                made.set_status(Status(StatusCode.ERROR, str(error)))
            made.end()

    future.add_done_callback(confirmed)
    return future


def applying(worker: str, runs: Sequence[Run]) -> AbstractContextManager[None]:
    """A batch being applied: what is asked of dependencies meanwhile belongs to the trace of its first traced event.

    Every other traced event gets a span of its own, as long as the batch's and linked to it.
    """
    if _tracer is None:
        return _NOTHING
    traced = {
        (run.topic, run.partition, record.offset): parent
        for run in runs
        for record in run.records
        if (parent := _parent_of(record.headers)) is not None
    }
    return _applying(_tracer, worker, traced, sum(len(run.records) for run in runs)) if traced else _NOTHING


@contextmanager
def _applying(
    tracer: Tracer, worker: str, traced: Mapping[tuple[str, int, int], Context], records: int
) -> Iterator[None]:
    from opentelemetry import trace
    from opentelemetry.trace import Link, SpanKind

    name = f"apply {worker}"
    contexts = [trace.get_current_span(parent).get_span_context() for parent in traced.values()]
    (first, parent), *others = traced.items()
    batch = tracer.start_span(
        name,
        context=parent,
        kind=SpanKind.CONSUMER,
        links=[Link(context) for context in contexts[1 : LINKS_MOST + 1]],
        attributes={
            "messaging.system": "kafka",
            "messaging.consumer.group.name": f"freshet-{worker}",
            "messaging.batch.message_count": records,
        },
    )
    link = [Link(batch.get_span_context())]
    spans = {first: batch} | {
        place: tracer.start_span(name, context=other, kind=SpanKind.CONSUMER, links=link) for place, other in others
    }
    token = _events.set(spans)
    try:
        with trace.use_span(batch):
            yield
    finally:
        _events.reset(token)
        for (topic, partition, offset), made in spans.items():
            made.set_attribute("messaging.destination.name", topic)
            made.set_attribute("messaging.destination.partition.id", str(partition))
            made.set_attribute("messaging.kafka.offset", offset)
            made.end()


class FirstUses:
    """What came through a reader with a trace and was in no answer yet."""

    def __init__(self, limit: int = 1_000) -> None:
        self._waiting: dict[str, Context] = {}
        self._limit = limit

    def read(self, keys_and_headers: Sequence[tuple[bytes | None, Headers]]) -> None:
        """Records, now visible to answers."""
        if _tracer is None:
            return
        from opentelemetry import trace
        from opentelemetry.trace import SpanKind

        for key, headers in keys_and_headers:
            if key is None or (parent := _parent_of(headers)) is None:
                continue
            made = _tracer.start_span("read representation", context=parent, kind=SpanKind.CONSUMER)
            made.end()
            self._waiting[key.decode("utf-8", "replace")] = trace.set_span_in_context(made)
            if len(self._waiting) > self._limit:
                del self._waiting[next(iter(self._waiting))]

    def answered(self, method: str, product_ids: Sequence[str], begun_ns: int) -> None:
        """An answer that shows these; it began at `begun_ns` nanoseconds since the epoch."""
        if _tracer is None or not self._waiting:
            return
        from opentelemetry import trace
        from opentelemetry.trace import Link, SpanKind

        call = trace.get_current_span().get_span_context()
        for product_id in product_ids:
            if (parent := self._waiting.pop(product_id, None)) is None:
                continue
            made = _tracer.start_span(
                f"first answer {method}",
                context=parent,
                kind=SpanKind.SERVER,
                links=[Link(call)] if call.is_valid else [],
                start_time=begun_ns,
                attributes={"freshet.product_id": product_id},
            )
            made.end()


def _parent_of(headers: Headers) -> Context | None:
    for name, value in headers or ():
        if name == HEADER and value is not None:
            return _context(value)
    return None


def _context(traceparent: bytes, *, unsampled: bool = False) -> Context | None:
    """The trace that a header names; None for none, for what cannot be read, and for one that nobody records."""
    from opentelemetry import trace

    parts = traceparent.split(b"-")
    if len(parts) < 4 or [len(part) for part in parts[:4]] != [2, 32, 16, 2] or parts[0] == b"ff":
        return None
    try:
        trace_id, span_id, flags = (int(part, 16) for part in parts[1:4])
    except ValueError:
        return None
    context = trace.SpanContext(trace_id, span_id, is_remote=True, trace_flags=trace.TraceFlags(flags))
    if not context.is_valid or not (context.trace_flags.sampled or unsampled):
        return None
    return trace.set_span_in_context(trace.NonRecordingSpan(context))


def _traceparent(made: Span) -> bytes:
    context = made.get_span_context()
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}".encode()
