"""Child processes that never outlive their supervisor: start, stop, identify. May import freshet.errors.

Every child leads a process group of its own, so that ending it ends its children too; the guard (guard.py) ends all
groups should this process be killed.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

import psutil

from freshet.errors import StackError

KEPT_LOGS = 3


class _Guard:
    """This process's one guard, started with the first child."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._owner = 0
        self._process: subprocess.Popen[bytes] | None = None

    def pipe(self) -> IO[bytes]:
        """What the guard reads, starting it where there is none yet. A forked process gets a guard of its own."""
        with self._lock:
            if self._process is None or self._owner != os.getpid() or self._process.poll() is not None:
                self._owner = os.getpid()
                self._process = subprocess.Popen(
                    [sys.executable, "-I", "-S", str(Path(__file__).with_name("guard.py"))],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,
                    bufsize=0,
                )
            pipe = self._process.stdin
            assert pipe is not None
            return pipe

    def forget(self, group: int) -> None:
        with contextlib.suppress(BrokenPipeError):
            self.pipe().write(f"remove {group}\n".encode())


_GUARD = _Guard()

_REGISTER_AND_RUN = 'echo "add $$" >&0; exec "$@" </dev/null'
"""The child tells the guard of itself before it becomes the program: so there is no moment at which nobody knows it."""


class Child:
    """A process and its group. `started` is its start time, which tells it from a later process of the same pid."""

    def __init__(self, name: str, process: subprocess.Popen[bytes]) -> None:
        self.name = name
        self.process = process
        self.pid = process.pid
        self.started = start_time(process.pid) or 0.0
        self._removed = False

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def wait(self, timeout_seconds: float) -> int | None:
        """The exit status, or None when it is still running after that time."""
        try:
            return self.process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            return None

    def stop(self, timeout_seconds: float = 10.0, first: signal.Signals = signal.SIGTERM) -> None:
        """Ask the process to end, wait, then kill whatever is left of its group. May be called again."""
        if self.running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, first)
            self.wait(timeout_seconds)
        self.kill()

    def kill(self) -> None:
        """Kill the group at once and reap the process."""
        if self._removed:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self.process.wait(10.0)
        _wait_group_gone(self.pid, 5.0)
        _GUARD.forget(self.pid)
        self._removed = True


def spawn(
    name: str,
    command: Sequence[str],
    *,
    log: Path,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> Child:
    """Start `command` in a group of its own, its output appended to `log`.

    `environment` is added to this process's own, less its FRESHET_ variables: a component is told all of its settings.
    Raises StackError when the program cannot be started.
    """
    if shutil.which(command[0]) is None:
        raise StackError(f"{name} cannot be started: there is no program {command[0]}")
    log.parent.mkdir(parents=True, exist_ok=True)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("FRESHET_")}
    with log.open("ab") as output:
        try:
            process = subprocess.Popen(
                ["/bin/sh", "-c", _REGISTER_AND_RUN, name, *command],
                stdin=_GUARD.pipe(),
                stdout=output,
                stderr=subprocess.STDOUT,
                env=inherited | dict(environment or {}),
                cwd=folder,
                start_new_session=True,
            )
        except OSError as error:
            raise StackError(f"{name} cannot be started: {error}") from error
    return Child(name, process)


def start_time(pid: int) -> float | None:
    """When that process started (seconds since the epoch), or None when there is none (a zombie counts as none)."""
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return process.create_time()
    except psutil.NoSuchProcess:
        return None


def is_same_process(pid: int, started: float) -> bool:
    """Whether `pid` is still the process that started then."""
    now = start_time(pid)
    return now is not None and abs(now - started) < 1.0


def group_members(group: int) -> list[int]:
    """Processes of a group, zombies left out."""
    members = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                members.append(process.pid)
    return members


def stop_leftover(pid: int, started: float, timeout_seconds: float) -> bool:
    """End a process that another supervisor left behind, with its group. False when it is not there any more.

    The group is looked at even when its leader has ended: children may remain, and a group's id is not given
    to a new process while the group has members.
    """
    leader = is_same_process(pid, started)
    if not leader and (start_time(pid) is not None or not group_members(pid)):
        return False
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGTERM)
    _wait_group_gone(pid, timeout_seconds)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    _wait_group_gone(pid, 5.0)
    return True


def rotate(log: Path) -> None:
    """Move `log` to `log.1`, `log.1` to `log.2` and so on; the oldest goes."""
    if not log.exists():
        return
    for number in range(KEPT_LOGS, 0, -1):
        older = log.with_name(f"{log.name}.{number}")
        newer = log if number == 1 else log.with_name(f"{log.name}.{number - 1}")
        if newer.exists():
            newer.replace(older)


def tail(log: Path, lines: int) -> list[str]:
    """The last lines of a log; empty when there is none."""
    try:
        with log.open("rb") as file:
            return _last_lines(file, lines)
    except FileNotFoundError:
        return []


def _last_lines(file: IO[bytes], lines: int) -> list[str]:
    end = file.seek(0, os.SEEK_END)
    window = 64 * 1024
    while True:
        file.seek(max(0, end - window))
        found = file.read().decode("utf-8", "replace").splitlines()
        if len(found) > lines or window >= end:
            return found[-lines:] if lines else []
        window *= 4


def _wait_group_gone(group: int, timeout_seconds: float) -> bool:
    deadline = time.monotonic() + timeout_seconds
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except (ProcessLookupError, PermissionError):
            return True
        if not group_members(group):
            return True
        time.sleep(0.02)
    return False
