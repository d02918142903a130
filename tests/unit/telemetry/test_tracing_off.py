"""Tracing that is off costs nothing, and headers that cannot be read are passed over."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import Future

import pytest

from freshet import tracing
from freshet.domain.progress import Position
from freshet.stream.batches import Run

HEADERS = [("content-type", b"application/protobuf"), ("traceparent", b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01")]


class Record:
    """Fails when anybody reads its headers."""

    offset = 1

    @property
    def headers(self) -> object:
        raise AssertionError("nobody asked for a trace")


def test_nothing_is_loaded_read_or_added_while_it_is_off() -> None:
    program = (
        "import sys; from freshet.stream import profiles, catalog, worker; from freshet.ingest import service; "
        "from freshet.recommend import process; from freshet.settings import Settings; from freshet import tracing; "
        "tracing.start(Settings(), 'x'); assert not tracing.on(); "
        "print([name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


def test_a_batch_is_applied_without_a_look_at_its_headers_while_it_is_off() -> None:
    record: object = Record()
    with tracing.applying("profiles", [Run("t", 0, [record])]):  # type: ignore[list-item]
        pass


def test_headers_go_out_as_they_are_while_it_is_off() -> None:
    sent: list[object] = []

    def publish(headers: tracing.Headers) -> Future[Position]:
        sent.append(headers)
        return Future()

    tracing.publishing("t", HEADERS, publish)
    assert sent == [HEADERS]


@pytest.mark.parametrize(
    "header",
    [
        b"", b"nonsense", b"00-xyz", b"00-" + b"0" * 32 + b"-" + b"b" * 16 + b"-01", b"\xff" * 55,
        b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-00", b"ff-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01",
        b"00-" + b"g" * 32 + b"-" + b"b" * 16 + b"-01",
    ],
)  # fmt: skip
def test_a_header_that_names_no_recorded_trace_is_passed_over(header: bytes) -> None:
    pytest.importorskip("opentelemetry.trace")
    assert tracing._parent_of([("traceparent", header)]) is None


def test_a_header_that_names_a_recorded_trace_is_read() -> None:
    trace = pytest.importorskip("opentelemetry.trace")
    parent = tracing._parent_of(HEADERS)
    context = trace.get_current_span(parent).get_span_context()
    assert (f"{context.trace_id:032x}", f"{context.span_id:016x}") == ("a" * 32, "b" * 16)
