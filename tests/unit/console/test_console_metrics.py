"""Rates and percentiles come from what was added between two readings of real expositions."""

from __future__ import annotations

import math

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from freshet.console.flow import flow
from freshet.console.scrape import Series, distribution, parse, total


class Process:
    """Metrics as Freshet's processes name them, in a registry of its own."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        self.records = Counter("freshet_worker_records", "…", ["worker", "topic"], registry=registry)
        self.apply = Histogram(
            "freshet_worker_apply_seconds", "…", ["worker"], buckets=[0.01, 0.1, 1.0], registry=registry
        )
        self.requests = Histogram(
            "freshet_request_seconds", "…", ["method", "code"], buckets=[0.01, 0.1], registry=registry
        )
        self.letters = Counter("freshet_dead_letters", "…", ["worker", "reason"], registry=registry)
        self.rows = Counter("freshet_encoder_rows", "…", ["modality"], registry=registry)
        self.unchanged = Counter("freshet_encoder_unchanged", "…", ["modality"], registry=registry)
        self.fresh = Histogram(
            "freshet_freshness_seconds", "…", ["event"], buckets=[0.005, 0.02, 1.0], registry=registry
        )
        Gauge("python_info", "not ours", registry=registry).set(1)

    def read(self) -> str:
        return generate_latest(self.registry).decode()


def test_only_our_own_samples_are_kept() -> None:
    process = Process()
    process.records.labels("catalog", "p").inc(3)
    sample = parse(process.read())
    assert total(sample, "freshet_worker_records_total", worker="catalog") == 3
    assert not any(name.startswith("python") or name.endswith("_created") for name, _ in sample)


def test_a_rate_is_what_was_added_in_the_last_ten_seconds() -> None:
    process, series = Process(), Series()
    for second in range(31):
        process.records.labels("profiles", "i").inc(100 if second > 20 else 1)
        series.add(float(second), parse(process.read()))
    worker = next(row for row in flow({"profiles": series})["workers"] if row["worker"] == "profiles")
    assert worker["rate"] == 100.0


def test_a_process_that_began_anew_counts_from_zero() -> None:
    first, second, series = Process(), Process(), Series()
    first.records.labels("index", "v").inc(5_000)
    second.records.labels("index", "v").inc(20)
    series.add(0.0, parse(first.read()))
    series.add(10.0, parse(second.read()))
    assert next(row for row in flow({"index": series})["workers"] if row["worker"] == "index")["rate"] == 2.0


def test_percentiles_are_read_inside_their_bucket() -> None:
    process = Process()
    for _ in range(90):
        process.apply.labels("catalog").observe(0.005)
    for _ in range(10):
        process.apply.labels("catalog").observe(0.5)
    spread = distribution(parse(process.read()), "freshet_worker_apply_seconds", worker="catalog")
    assert spread.percentile(0.5) == pytest.approx(0.01 * 50 / 90)
    assert spread.percentile(0.95) == pytest.approx(0.1 + 0.9 * 5 / 10)
    assert spread.mean == pytest.approx(0.0545)


def test_a_value_beyond_the_last_bound_is_that_bound_and_not_infinite() -> None:
    process = Process()
    process.apply.labels("catalog").observe(60.0)
    spread = distribution(parse(process.read()), "freshet_worker_apply_seconds")
    assert spread.percentile(0.99) == 1.0
    assert math.isinf(spread.bounds[-1])


def test_the_page_has_answers_letters_encoders_and_freshness() -> None:
    process, series = Process(), Series()
    process.letters.labels("catalog", "IMAGE").inc(2)
    series.add(0.0, parse(process.read()))
    for _ in range(20):
        process.requests.labels("Recommend", "OK").observe(0.004)
    process.requests.labels("Recommend", "INVALID_ARGUMENT").observe(0.001)
    process.letters.labels("catalog", "IMAGE").inc()
    process.rows.labels("image").inc(30)
    process.unchanged.labels("image").inc(90)
    process.fresh.labels("click").observe(0.004)
    series.add(10.0, parse(process.read()))
    seen = flow({"recommend": series})
    recommend = next(row for row in seen["methods"] if row["method"] == "Recommend")
    assert (recommend["rate"], recommend["refused"], seen["answers"]) == (2.1, 1, 20)
    assert seen["dead_letters"] == [{"reason": "IMAGE", "minute": 1, "total": 3}]
    assert seen["encoders"] == [{"modality": "image", "calls": 0, "rows": 30, "unchanged": 0.75}]
    assert [(row["event"], row["count"], row["recent"]) for row in seen["freshness"]] == [("click", 1, True)]


def test_freshness_of_a_quiet_minute_is_that_since_start() -> None:
    process, series = Process(), Series()
    process.fresh.labels("click").observe(0.004)
    for second in (0.0, 10.0):
        series.add(second, parse(process.read()))
    assert [(row["event"], row["recent"]) for row in flow({"profiles": series})["freshness"]] == [("click", False)]


def test_without_metrics_nothing_is_claimed() -> None:
    seen = flow({})
    assert all(row["rate"] is None and not row["known"] for row in seen["workers"])
    assert seen["freshness"] == []
    assert seen["mirror_products"] is None
