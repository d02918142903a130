"""What a worker tells of its lag: counts, ages, and nothing of partitions that it has no more."""

from __future__ import annotations

from prometheus_client import REGISTRY

from freshet.stream.lag import LagGauges, Standing

T = "freshet.interactions.v1"


def value(name: str, group: str, partition: int = 0) -> float | None:
    return REGISTRY.get_sample_value(name, {"group": group, "topic": T, "partition": str(partition)})


def test_the_age_of_a_lag_is_that_of_the_oldest_record_not_applied() -> None:
    LagGauges("g1").set({(T, 0): Standing(applied=10, end=14, oldest_ms=95_000)}, now=100.0)
    assert value("freshet_consumer_lag_records", "g1") == 4
    assert value("freshet_consumer_lag_seconds", "g1") == 5.0
    assert value("freshet_consumer_applied_offset", "g1") == 10


def test_a_record_that_was_not_fetched_yet_ages_from_when_it_was_noticed_until_something_is_applied() -> None:
    gauges = LagGauges("g2")
    gauges.set({(T, 0): Standing(10, 12, None)}, now=100.0)
    gauges.set({(T, 0): Standing(10, 13, None)}, now=103.0)
    assert value("freshet_consumer_lag_seconds", "g2") == 3.0
    gauges.set({(T, 0): Standing(11, 13, None)}, now=104.0)
    assert value("freshet_consumer_lag_seconds", "g2") == 0.0


def test_a_caught_up_partition_has_no_lag_however_old_its_last_record() -> None:
    gauges = LagGauges("g3")
    gauges.set({(T, 0): Standing(10, 12, 1_000)}, now=100.0)
    gauges.set({(T, 0): Standing(12, 12, None)}, now=200.0)
    assert value("freshet_consumer_lag_records", "g3") == 0
    assert value("freshet_consumer_lag_seconds", "g3") == 0.0


def test_a_partition_that_moved_to_another_worker_is_told_of_no_more() -> None:
    gauges = LagGauges("g4")
    gauges.set({(T, 0): Standing(1, 2, None), (T, 1): Standing(5, 5, None)}, now=100.0)
    gauges.set({(T, 1): Standing(5, 5, None)}, now=101.0)
    assert value("freshet_consumer_lag_records", "g4", 0) is None
    assert value("freshet_consumer_applied_offset", "g4", 1) == 5
