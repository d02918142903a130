"""SIGKILL under load: when it is over nothing is lost and nothing counted twice, compared with a replay of the log."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from replay import behaviour_of_log, behaviour_of_store, catalogue_of_log, catalogue_of_store, index_rows, wait_applied
from shop_events import Shop

from freshet.local.stack import LocalStack

pytestmark = pytest.mark.stack

EVENTS, RATE = 1_500, 500.0
STUB = "triton_python_backend_stub"


def kill_stubs(stack: LocalStack) -> None:
    """Triton's Python processes: the server itself goes on and still calls itself ready."""
    stubs = [each for each in psutil.Process(stack.pid("triton")).children(recursive=True) if STUB in each.name()]
    stubs = stubs or [
        each
        for each in psutil.Process(stack.pid("triton")).children(recursive=True)
        if STUB in " ".join(each.cmdline())
    ]
    assert stubs, "Triton runs no Python backend"
    for stub in stubs:
        os.kill(stub.pid, signal.SIGKILL)


def component(name: str) -> Callable[[LocalStack], None]:
    return lambda stack: stack.kill(name)


VICTIMS = {
    "the catalogue worker": component("catalog"),
    "the index worker": component("index"),
    "the profile worker": component("profiles"),
    "Triton's stubs": kill_stubs,
    "Milvus": component("milvus"),
    "the broker": component("kafka"),
}


@pytest.fixture(scope="module")
def faulty_stack(
    stack: LocalStack, small_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LocalStack]:
    """A stack whose log holds what these tests publish and nothing else. Where `stack` runs, it does."""
    folder = tmp_path_factory.mktemp("faulty-stack")
    with LocalStack(folder, {"model_dir": small_model}, usual_ports=False) as running:
        yield running


@pytest.mark.parametrize("victim", VICTIMS)
def test_nothing_is_lost_and_nothing_counted_twice(victim: str, faulty_stack: LocalStack, tmp_path: Path) -> None:
    stack, settings = faulty_stack, faulty_stack.settings
    with Shop(settings, list(VICTIMS).index(victim), EVENTS, RATE) as shop:
        shop.wait_for_half()
        VICTIMS[victim](stack)
    places = shop.positions()
    assert len(set(places)) == EVENTS, "every record was confirmed, each at a place of its own"
    stack.wait_healthy(timeout_seconds=180.0)
    wait_applied(settings)

    logged, (stored, vectors) = catalogue_of_log(settings), catalogue_of_store(settings)
    assert stored.states == logged.states
    assert stored.stars == logged.stars
    assert stored.texts == logged.texts

    indexed = index_rows(settings)
    assert indexed.keys() == vectors.keys()
    for number, vector in vectors.items():
        np.testing.assert_allclose(indexed[number], vector, atol=1e-3)

    counted, expected = behaviour_of_store(settings), behaviour_of_log(settings, tmp_path)
    assert counted.seen == expected.seen
    assert counted.weights.keys() == expected.weights.keys()
    for user, weights in expected.weights.items():
        assert counted.weights[user] == pytest.approx(weights)
    assert counted.users == pytest.approx(expected.users)
    assert counted.trends == pytest.approx(expected.trends)
    assert counted.pairs == pytest.approx(expected.pairs)
