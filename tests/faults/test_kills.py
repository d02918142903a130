"""SIGKILL under load: when it is over nothing is lost and nothing counted twice, compared with a replay of the log.

Invariants 1 and 2.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import psutil
import pytest
from line import Line
from replay import Log, behaviours, catalogue_of_log, catalogue_of_store, index_rows, refused_by_workers, wait_applied
from shop_events import Shop
from waiting import wait_until

from freshet import bootstrap
from freshet.domain.progress import Position
from freshet.local.stack import LocalStack

pytestmark = pytest.mark.stack

EVENTS, RATE = 1_500, 500.0
STUB = "triton_python_backend_stub"


def stubs(stack: LocalStack) -> set[int]:
    """Triton's Python processes. Without them the server itself goes on and still calls itself ready."""
    children = psutil.Process(stack.pid("triton")).children(recursive=True)
    return {each.pid for each in children if STUB in " ".join(each.cmdline())}


def process(name: str) -> Callable[[LocalStack], set[int]]:
    return lambda stack: {stack.pid(name)}


VICTIMS: dict[str, Callable[[LocalStack], set[int]]] = {
    "the catalogue worker": process("catalog"),
    "the index worker": process("index"),
    "the profile worker": process("profiles"),
    "Triton's stubs": stubs,
    "Milvus": process("milvus"),
    "the broker": process("kafka"),
}


def kill_one_after_the_other(pids: set[int]) -> None:
    assert pids
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


def assert_the_stores_hold_what_the_log_says(stack: LocalStack, log: Log) -> None:
    settings = stack.settings
    assert refused_by_workers(settings) == log.refused()

    logged, (stored, vectors) = catalogue_of_log(log), catalogue_of_store(settings)
    assert stored.states == logged.states
    assert stored.stars == logged.stars
    assert stored.texts == logged.texts

    indexed = index_rows(settings)
    assert indexed.keys() == vectors.keys()
    searched = bootstrap.model_manifest(settings).layout.searched
    for number, vector in vectors.items():
        np.testing.assert_allclose(indexed[number], vector[:searched], atol=1e-3)

    counted, expected = behaviours(settings, log)
    assert counted.seen == expected.seen
    assert counted.weights.keys() == expected.weights.keys()
    for user, weights in expected.weights.items():
        assert counted.weights[user] == pytest.approx(weights)
    assert counted.users == pytest.approx(expected.users)
    assert counted.trends == pytest.approx(expected.trends)
    assert counted.pairs == pytest.approx(expected.pairs)


@pytest.mark.parametrize("victim", VICTIMS)
def test_nothing_is_lost_and_nothing_counted_twice(victim: str, stack: LocalStack) -> None:
    pids_of = VICTIMS[victim]
    published_before = len(Log(stack.settings))
    killed = pids_of(stack)
    with Shop(stack.settings, list(VICTIMS).index(victim), EVENTS, RATE) as shop:
        shop.wait_for_half()
        kill_one_after_the_other(killed)
    stack.wait_healthy(timeout_seconds=180.0)
    wait_applied(stack.settings, acknowledged=True)

    assert pids_of(stack).isdisjoint(killed)
    log, confirmed = Log(stack.settings), shop.confirmed()
    assert len(confirmed) == EVENTS, "each record was confirmed, at a place of its own"
    assert {place: log.value(place) for place in confirmed} == confirmed
    assert len(log) == published_before + EVENTS, "nothing was sent twice"
    assert_the_stores_hold_what_the_log_says(stack, log)


def is_stored(stack: LocalStack, place: Position) -> bool:
    """Whether the catalogue worker's transaction with this record is in the database."""
    with closing(bootstrap.profile_store(stack.settings)) as store:
        progress = store.progress("catalog").get((place.topic, place.partition))
    return progress is not None and progress.next_offset > place.offset


def waits_for_triton(log: Path, since: int) -> bool:
    return "dependency=triton" in log.read_text()[since:]


def test_what_was_stored_and_not_yet_published_when_the_worker_died_is_published_after_all(
    stack: LocalStack, line: Line
) -> None:
    """The worker has read a record and waits for Triton. Kafka goes, Triton comes: it can store, and cannot publish."""
    log = stack.data_dir / "logs" / "catalog.log"
    since = len(log.read_text())
    stack.stop_component("triton")
    (place,) = line.products(line.good())
    wait_until(lambda: waits_for_triton(log, since), "the worker has read the record")
    stack.stop_component("kafka")
    stack.start_component("triton")
    wait_until(lambda: is_stored(stack, place), "the product is stored")
    kill_one_after_the_other({stack.pid("catalog")})
    stack.start_component("kafka")
    stack.wait_healthy(timeout_seconds=180.0)
    wait_applied(stack.settings, acknowledged=True)
    row = line.row()
    assert row is not None
    assert row.number in index_rows(stack.settings)
