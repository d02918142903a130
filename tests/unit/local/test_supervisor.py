"""A component that is killed is not called healthy before its next life."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from freshet.local.component import Component
from freshet.local.processes import Child
from freshet.local.supervisor import Supervised


def test_a_probe_that_outlives_a_kill_calls_nobody_healthy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lives: list[tuple[str, int]] = []
    killed = threading.Event()
    not_reaped_yet: list[Child] = []
    running = Child.running.fget
    assert running is not None
    monkeypatch.setattr(
        Child, "running", property(lambda child: bool(not_reaped_yet and not_reaped_yet.pop()) or running(child))
    )

    def probe() -> str:
        if lives and lives[-1][0] == "healthy" and not killed.is_set():
            # The probe has its answer, and the process dies before it is told.
            supervised.kill()
            assert supervised._child is not None
            not_reaped_yet.append(supervised._child)
            killed.set()
        return "works"

    component = Component("sleeper", ["sleep", "600"], {}, probe, probe_every_seconds=0.01)
    supervised = Supervised(
        component,
        tmp_path / "log",
        lambda: lives.append((supervised.status.state, supervised.pid)),
        lambda _told: None,
    )
    supervised.start()
    try:
        assert killed.wait(30.0)
        supervised.wait_healthy(30.0)
        (first, *_), after = lives, lives[[state for state, _ in lives].index("restarting") :]
        healthy = [pid for state, pid in after if state == "healthy"]
        assert healthy, "it works again"
        assert first[1] not in healthy, "not in the life that was over"
        assert supervised.restarts == 1
    finally:
        supervised.stop()


def test_a_kill_that_is_noticed_before_it_returns_leaves_nobody_healthy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    component = Component("sleeper", ["sleep", "600"], {}, lambda: "works", probe_every_seconds=0.01)
    supervised = Supervised(component, tmp_path / "log", lambda: None, lambda _told: None)
    killer = threading.current_thread()
    kill = Child.kill

    def kill_and_be_noticed(child: Child) -> None:
        kill(child)
        deadline = time.monotonic() + 30.0
        while threading.current_thread() is killer and supervised.pid == child.pid:
            assert time.monotonic() < deadline, "the death is not noticed"
            time.sleep(0.001)

    monkeypatch.setattr(Child, "kill", kill_and_be_noticed)
    supervised.start()
    try:
        supervised.wait_healthy(30.0)
        before = supervised.pid

        supervised.kill()
        supervised.wait_healthy(30.0)

        assert supervised.pid not in (0, before)
        assert supervised.restarts == 1
    finally:
        supervised.stop()
