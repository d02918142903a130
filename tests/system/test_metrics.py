"""What a real Prometheus reads of a real line: lag, freshness, latency, recall, and which alerts keep still."""

from __future__ import annotations

import urllib.request

import pytest
from watching import PRODUCTS, Prometheus, Shop

from freshet.local.stack import LocalStack

pytestmark = pytest.mark.stack


def test_every_process_is_scraped(prometheus: Prometheus) -> None:
    assert prometheus.wait('count(up{job="freshet"} == 1)', lambda up: up == 5) == 5


def test_nothing_is_behind_once_everything_is_applied(shop: Shop, prometheus: Prometheus) -> None:
    assert shop.first_answer.freshness.at_least_reached
    prometheus.wait('sum(freshet_consumer_applied_offset{topic="freshet.products.v1"})', lambda n: n >= PRODUCTS)
    for group in ("freshet-catalog", "freshet-index", "freshet-profiles"):
        prometheus.wait(f'sum(freshet_consumer_lag_records{{group="{group}"}})', lambda lag: lag == 0)
        prometheus.wait(f'max(freshet_consumer_lag_seconds{{group="{group}"}})', lambda age: age == 0)


def test_a_worker_that_is_held_up_tells_how_far_and_how_long_it_is_behind(
    shop: Shop, observed: LocalStack, prometheus: Prometheus
) -> None:
    lag = 'sum(freshet_consumer_lag_records{group="freshet-catalog"})'
    observed.stop_component("triton")
    try:
        for price in (1.0, 2.0, 3.0):
            shop.publish_product("m0", "a silk dress", price)
        prometheus.wait(lag, lambda records: records == 3)
        prometheus.wait('max(freshet_consumer_lag_seconds{group="freshet-catalog"})', lambda age: age > 2.0)
        prometheus.wait('sum(freshet_worker_retries_total{dependency="triton"})', lambda retries: retries > 0)
    finally:
        observed.start_component("triton")
    prometheus.wait(lag, lambda records: records == 0)
    prometheus.wait('max(freshet_consumer_lag_seconds{group="freshet-catalog"})', lambda age: age == 0)


def test_the_canary_tells_of_a_triton_that_is_away(shop: Shop, observed: LocalStack, prometheus: Prometheus) -> None:
    observed.stop_component("triton")
    try:
        shop.publish_product("m0", "a dress without a vector", 4.0)
        prometheus.wait("min(freshet_triton_canary_up)", lambda up: up == 0)
    finally:
        observed.start_component("triton")
    prometheus.wait("min(freshet_triton_canary_up)", lambda up: up == 1)


def test_the_lag_is_told_again_after_kafka_was_killed(shop: Shop, observed: LocalStack, prometheus: Prometheus) -> None:
    applied = 'sum(freshet_consumer_applied_offset{group="freshet-catalog",topic="freshet.products.v1"})'
    before = prometheus.wait(applied, lambda offset: offset > 0)
    observed.kill("kafka")
    observed.wait_healthy()
    shop.publish_product("m0", "a dress after the fall", 5.0)
    prometheus.wait(applied, lambda offset: offset > before)
    prometheus.wait('sum(freshet_consumer_lag_records{group="freshet-catalog"})', lambda records: records == 0)


@pytest.mark.parametrize(("event", "least"), [("click", 1), ("hide", 1), ("product", 1), ("review", 1)])
def test_freshness_is_counted_by_event(shop: Shop, prometheus: Prometheus, event: str, least: int) -> None:
    prometheus.wait(f'sum(freshet_freshness_seconds_count{{event="{event}"}})', lambda count: count >= least)
    p99 = f'histogram_quantile(0.99, sum by (le) (freshet_freshness_seconds_bucket{{event="{event}"}}))'
    assert prometheus.wait(p99, lambda seconds: seconds > 0) < 60


def test_the_time_to_answer_has_a_99th_percentile(shop: Shop, prometheus: Prometheus) -> None:
    assert len(shop.first_answer.products) == 5
    p99 = 'histogram_quantile(0.99, sum by (le) (freshet_request_seconds_bucket{method="Recommend",code="OK"}))'
    assert 0 < prometheus.wait(p99, lambda seconds: seconds > 0) <= 5


def test_the_index_finds_nearly_all_that_an_exact_scan_finds(shop: Shop, prometheus: Prometheus) -> None:
    assert 0.9 <= prometheus.wait("min(freshet_index_recall_ratio)", lambda ratio: ratio >= 0.9) <= 1


def test_encoders_stages_and_batches_are_counted(shop: Shop, prometheus: Prometheus) -> None:
    for promql in (
        'sum(freshet_encoder_calls_total{modality="text"})',
        'sum(freshet_encoder_rows_total{modality="fusion"})',
        'sum(freshet_catalog_stage_seconds_count{stage="encode"})',
        'sum(freshet_worker_batch_records_count{worker="profiles"})',
        'sum(freshet_worker_records_total{topic="freshet.interactions.v1"})',
        'sum(freshet_published_events_total{topic="freshet.products.v1"})',
        'sum(process_resident_memory_bytes{component="recommend"})',
        'sum(process_cpu_seconds_total{component="profiles"})',
    ):
        prometheus.wait(promql, lambda count: count > 0)


def test_the_model_is_told_by_every_process_that_works_with_one(shop: Shop, prometheus: Prometheus) -> None:
    prometheus.wait("count(count by (component) (freshet_model_info))", lambda components: components == 3)
    versions = {series["metric"]["version"] for series in prometheus.query("freshet_model_info")}
    assert versions == {shop.first_answer.freshness.model_version}


def test_triton_and_the_index_tell_how_long_they_take(shop: Shop, prometheus: Prometheus) -> None:
    assert prometheus.wait("min(freshet_triton_canary_up)", lambda up: up == 1) == 1
    assert 0 < prometheus.wait("max(freshet_triton_canary_seconds)", lambda seconds: seconds > 0) < 30
    prometheus.wait('sum(freshet_triton_call_seconds_count{model="fusion"})', lambda calls: calls > 0)
    prometheus.wait('sum(freshet_index_write_seconds_count{kind="upsert"})', lambda writes: writes > 0)
    prometheus.wait("sum(freshet_index_probe_seconds_count)", lambda looks: looks > 0)


def test_a_recommend_process_that_reads_tells_that_it_is_not_behind(shop: Shop, prometheus: Prometheus) -> None:
    prometheus.wait("sum(freshet_mirror_lag_records)", lambda records: records == 0)
    prometheus.wait("max(freshet_mirror_lag_seconds)", lambda seconds: seconds == 0)


def test_every_process_says_that_it_is_healthy(shop: Shop, observed: LocalStack) -> None:
    ports = {part.name: part.metrics_port for part in observed.status().components if part.metrics_port}
    for name in ("catalog", "index", "profiles", "recommend", "ingest"):
        with urllib.request.urlopen(f"http://127.0.0.1:{ports[name]}/healthz", timeout=60) as answer:
            assert answer.status == 200


def test_label_sets_stay_small(shop: Shop, prometheus: Prometheus) -> None:
    prometheus.wait('count(up{job="freshet"} == 1)', lambda up: up == 5)
    series = prometheus.value(
        'max(count by (__name__) ({job="freshet", __name__=~"freshet_.*", __name__!~".*_bucket"}))'
    )
    assert series is not None
    assert series < 60, "a label takes more values than it should"


def test_no_alert_fires_on_a_healthy_line(shop: Shop, prometheus: Prometheus) -> None:
    groups = prometheus.get("/api/v1/rules")["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert len(rules) > 8
    assert [rule["name"] for rule in rules if rule["health"] not in ("ok", "unknown")] == []
    assert [rule["name"] for rule in rules if rule["state"] == "firing"] == []
