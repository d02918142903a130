"""Processes end with whoever started them, and are told from later ones of the same number."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from freshet.errors import StackError
from freshet.local.processes import group_members, is_same_process, rotate, spawn, start_time, stop_leftover, tail

GRANDCHILD = ["sh", "-c", "sleep 600 & echo $!; wait"]


def printed(log: Path) -> str:
    deadline = time.monotonic() + 10
    while not (log.exists() and log.read_text().endswith("\n")):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return log.read_text().strip()


def test_stopping_a_process_stops_its_children_too(tmp_path: Path) -> None:
    child = spawn("sleeper", GRANDCHILD, log=tmp_path / "log")
    grandchild = int(printed(tmp_path / "log"))
    assert sorted(group_members(child.pid)) == sorted([child.pid, grandchild])

    child.stop(1.0)

    assert start_time(child.pid) is None
    assert start_time(grandchild) is None


def test_a_process_that_ignores_the_request_is_killed(tmp_path: Path) -> None:
    child = spawn("stubborn", ["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 1; done"], log=tmp_path / "log")
    printed(tmp_path / "log")
    child.stop(0.1)
    assert child.process.returncode == -signal.SIGKILL


def test_children_and_grandchildren_end_when_their_supervisor_is_killed(tmp_path: Path) -> None:
    log = tmp_path / "log"
    code = (
        "import sys, time; from pathlib import Path; from freshet.local.processes import spawn;"
        f"spawn('sleeper', {GRANDCHILD!r}, log=Path({str(log)!r})); time.sleep(600)"
    )
    supervisor = subprocess.Popen([sys.executable, "-c", code])
    grandchild = int(printed(log))
    assert start_time(grandchild) is not None

    supervisor.kill()
    supervisor.wait()

    deadline = time.monotonic() + 10
    while start_time(grandchild) is not None:
        assert time.monotonic() < deadline, "the grandchild outlived a killed supervisor by 10 s"
        time.sleep(0.02)


def test_a_later_process_of_the_same_number_is_left_alone() -> None:
    process = subprocess.Popen(["sleep", "600"], start_new_session=True)
    try:
        started = start_time(process.pid)
        assert started is not None
        assert is_same_process(process.pid, started)
        assert not is_same_process(process.pid, started - 100)
        assert not stop_leftover(process.pid, started - 100, 0.1)
        assert process.poll() is None
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_a_program_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(StackError, match="kafka cannot be started"):
        spawn("kafka", [str(tmp_path / "absent")], log=tmp_path / "log")


def test_rotation_keeps_three_older_logs(tmp_path: Path) -> None:
    log = tmp_path / "kafka.log"
    for text in "abcde":
        log.write_text(text)
        rotate(log)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kafka.log.1", "kafka.log.2", "kafka.log.3"]
    assert [(tmp_path / f"kafka.log.{number}").read_text() for number in (1, 2, 3)] == ["e", "d", "c"]


def test_tail_reads_the_end_of_a_long_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("".join(f"line {number} {'x' * 100}\n" for number in range(5000)))
    assert [line.split()[1] for line in tail(log, 3)] == ["4997", "4998", "4999"]
    assert len(tail(log, 4000)) == 4000
    assert tail(tmp_path / "absent", 3) == []
