"""The service's Prometheus metrics."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import Counter, Gauge, Histogram

_BUCKETS = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)
REQUEST_SECONDS = Histogram("freshet_request_seconds", "Time to answer.", ["method", "code"], buckets=_BUCKETS)
STAGE_SECONDS = Histogram("freshet_request_stage_seconds", "Time per stage of a request.", ["stage"], buckets=_BUCKETS)
DEGRADED = Counter("freshet_degraded_answers_total", "Answers that had to leave something out.", ["method"])
LATE = Counter("freshet_at_least_late_total", "Answers given before what at_least asked for was applied.", ["method"])
MIRROR_PRODUCTS = Gauge("freshet_mirror_products", "Products this process knows.")
MIRROR_UNSETTLED = Gauge("freshet_mirror_unsettled_products", "Products that changed after what the index shows.")
MIRROR_IGNORED = Gauge("freshet_mirror_ignored_records", "Records passed over, by why.", ["reason"])

_STAGES = {
    name: STAGE_SECONDS.labels(name)
    for name in ("wait", "profile", "filter", "behaviour", "retrieve", "rank", "respond")
}


@contextmanager
def stage(name: str) -> Iterator[None]:
    begun = time.perf_counter()
    try:
        yield
    finally:
        _STAGES[name].observe(time.perf_counter() - begun)
