"""The service's Prometheus metrics."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Protocol

from prometheus_client import Counter, Gauge, Histogram

from freshet import tracing
from freshet.codec import wire
from freshet.telemetry import FRESHNESS

_BUCKETS = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)
REQUEST_SECONDS = Histogram("freshet_request_seconds", "Time to answer.", ["method", "code"], buckets=_BUCKETS)
STAGE_SECONDS = Histogram("freshet_request_stage_seconds", "Time per stage of a request.", ["stage"], buckets=_BUCKETS)
DEGRADED = Counter("freshet_degraded_answers_total", "Answers that had to leave something out.", ["method"])
LATE = Counter("freshet_at_least_late_total", "Answers given before what at_least asked for was applied.", ["method"])
MIRROR_PRODUCTS = Gauge("freshet_mirror_products", "Products this process knows.")
MIRROR_UNSETTLED = Gauge("freshet_mirror_unsettled_products", "Products that changed after what the index shows.")
MIRROR_IGNORED = Counter("freshet_mirror_ignored_records", "Records passed over, by why.", ["reason"])
QUERIES = Counter("freshet_query_encodings", "Texts and pictures searched by: known, or encoded.", ["part", "outcome"])
MIRROR_LAG_RECORDS = Gauge("freshet_mirror_lag_records", "Records of the catalogue that this process has not read.")
MIRROR_LAG_SECONDS = Gauge("freshet_mirror_lag_seconds", "Since when the oldest of them has been there; 0 when none.")
PROBES = Counter("freshet_index_probes", "Looks at the index's recall, by what came of them.", ["outcome"])
PROBE_SECONDS = Histogram("freshet_index_probe_seconds", "Time of a look's search, done or failed.", buckets=_BUCKETS)

for _outcome in ("too_few", "index_away", "compared"):
    PROBES.labels(_outcome)
for _method in ("Recommend", "ListSimilarProducts", "SearchProducts"):
    # A series that begins at 1 has not increased: it is there at 0 before the first such answer.
    DEGRADED.labels(_method)
    LATE.labels(_method)
_STAGES = {
    name: STAGE_SECONDS.labels(name)
    for name in ("wait", "profile", "fetch", "encode", "filter", "behaviour", "retrieve", "rank", "respond")
}


@cache
def recall() -> Gauge:
    """Made with its first value: a gauge begins at 0, which would tell of an index that finds nothing."""
    return Gauge("freshet_index_recall_ratio", "Share of the true 10 nearest of a product that the index finds.")


@contextmanager
def stage(name: str) -> Iterator[None]:
    begun = time.perf_counter()
    try:
        with tracing.span(name):
            yield
    finally:
        _STAGES[name].observe(time.perf_counter() - begun)


class Caused(Protocol):
    """A record of the representations; freshet.adapters.kafka.ReadRecord is one."""

    @property
    def headers(self) -> wire.Headers: ...


def observe_freshness(records: Sequence[Caused]) -> None:
    """Of each event that caused some of these records, now visible, the oldest."""
    oldest_ms: dict[str, int] = {}
    for record in records:
        if (cause := wire.read_cause(record.headers)) is not None:
            event, time_ms = cause
            oldest_ms[event] = min(time_ms, oldest_ms.get(event, time_ms))
    now_ms = time.time() * 1e3
    for event, time_ms in oldest_ms.items():
        FRESHNESS.labels(event).observe(max(0.0, now_ms - time_ms) / 1e3)
