"""Rates and percentiles come from what was added between two readings of real expositions."""

from __future__ import annotations

import asyncio
import math
import socket

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from tritonclient.grpc import service_pb2
from tritonclient.utils import InferenceServerException

from freshet.console.flow import flow
from freshet.console.models import Models
from freshet.console.scrape import Series, addresses_of, distribution, parse, total


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


def test_processes_of_one_component_are_added_up() -> None:
    workers = {}
    for address, rate in (("10.0.0.7:9100", 100), ("10.0.0.8:9100", 40)):
        process, series = Process(), workers.setdefault(f"profiles {address}", Series())
        for second in range(21):
            process.records.labels("profiles", "i").inc(rate)
            series.add(float(second), parse(process.read()))
    worker = next(row for row in flow(workers)["workers"] if row["worker"] == "profiles")
    assert worker["rate"] == 140.0


async def test_a_host_is_as_many_processes_as_it_has_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    async def resolve(_loop: object, host: str, port: str, **_options: object) -> list[object]:
        if host != "catalog":
            raise socket.gaierror
        return [(0, 0, 0, "", (address, int(port))) for address in ("10.0.0.8", "10.0.0.7", "fd00::7")]

    monkeypatch.setattr(type(asyncio.get_running_loop()), "getaddrinfo", resolve)
    assert await addresses_of("catalog:9100") == ["10.0.0.7:9100", "10.0.0.8:9100", "[fd00::7]:9100"]
    assert await addresses_of("gone:9100") == ["gone:9100"], "asked, it does not answer: it is told as silent"


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
    assert all(row["rate"] is None for row in seen["workers"])
    assert seen["freshness"] == []
    assert seen["mirror_products"] is None


def statistics(
    rows: int, runs: int, waited_ns: int, ran_ns: int, failed: int = 0
) -> service_pb2.ModelStatisticsResponse:
    answer = service_pb2.ModelStatisticsResponse()
    model = answer.model_stats.add(name="text", version="1", inference_count=rows, execution_count=runs)
    told = model.inference_stats
    told.success.count, told.fail.count = runs, failed
    told.queue.count, told.queue.ns = runs, waited_ns
    told.compute_infer.count, told.compute_infer.ns = runs, ran_ns
    return answer


class Triton:
    """Answers what is next, or fails."""

    def __init__(self, *answers: service_pb2.ModelStatisticsResponse) -> None:
        self.answers = list(answers)

    async def get_inference_statistics(self, client_timeout: float) -> service_pb2.ModelStatisticsResponse:
        if not self.answers:
            raise InferenceServerException("connection refused")
        return self.answers.pop(0)

    async def close(self) -> None: ...


async def test_models_are_told_of_by_what_was_added_in_the_last_minute() -> None:
    models = Models("triton://127.0.0.1:1")
    models._client = Triton(
        statistics(1_000, 50, 7_000_000, 9_000_000), statistics(1_600, 60, 17_000_000, 49_000_000, 2)
    )
    assert await models.read(100.0) == ""
    assert models.rows() == [{"model": "text", "rate": None, "batch": None, "queue": None, "work": None, "failed": 0.0}]
    assert await models.read(130.0) == ""
    (row,) = models.rows()
    assert row == {"model": "text", "rate": 20.0, "batch": 60.0, "queue": 0.001, "work": 0.004, "failed": 2.0}


async def test_a_triton_that_is_away_is_named_and_its_counters_begin_anew() -> None:
    models = Models("triton://127.0.0.1:1")
    models._client = Triton(statistics(10, 1, 1, 1))
    assert await models.read(0.0) == ""
    assert "connection refused" in await models.read(1.0)
    assert models.rows() == []
    assert "names no Triton" in await Models("memory://x").read(0.0)


def test_the_index_is_told_of_once_it_was_compared_and_by_the_worst_process() -> None:
    def process(products: int, recall: float, compared: int) -> Series:
        registry, series = CollectorRegistry(), Series()
        Gauge("freshet_mirror_products", "…", registry=registry).set(products)
        Gauge("freshet_mirror_unsettled_products", "…", registry=registry).set(3)
        Gauge("freshet_index_recall_ratio", "…", registry=registry).set(recall)
        Counter("freshet_index_probes", "…", ["outcome"], registry=registry).labels("compared").inc(compared)
        series.add(0.0, parse(generate_latest(registry).decode()))
        return series

    seen = flow({"recommend 0": process(90, 0.9, 4), "recommend 1": process(100, 0.0, 0)})
    assert seen["mirror_products"] == 100
    assert seen["index"] == {"unsettled": 3, "recall": 0.9}
    assert flow({})["index"] == {"unsettled": None, "recall": None}
