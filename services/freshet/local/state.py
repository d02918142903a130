"""What a running stack writes down for others: stack.json and the lock. May import freshet.settings."""

from __future__ import annotations

import fcntl
import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any, Literal

from freshet.errors import StackError
from freshet.local.processes import is_same_process, stop_leftover
from freshet.settings import Settings

State = Literal["waiting", "starting", "healthy", "unhealthy", "restarting", "stopped"]
StackState = Literal["starting", "ready", "stopping", "stopped"]


@dataclass(frozen=True)
class ComponentStatus:
    """One component as others see it. Times are seconds since the epoch; `pid` is 0 while there is no process."""

    name: str
    state: State
    detail: str = ""
    pid: int = 0
    started: float = 0.0
    port: int = 0
    metrics_port: int = 0
    restarts: int = 0
    since: float = 0.0
    log: str = ""


@dataclass(frozen=True)
class StackStatus:
    """The whole of stack.json. `settings` are what this stack changes in Settings, nested as in Settings."""

    data_dir: str
    state: StackState
    supervisor_pid: int
    supervisor_started: float
    settings: dict[str, Any] = field(default_factory=dict)
    components: tuple[ComponentStatus, ...] = ()

    @property
    def supervised(self) -> bool:
        """Whether the process that wrote this is still there."""
        return is_same_process(self.supervisor_pid, self.supervisor_started)

    @property
    def healthy(self) -> bool:
        return self.supervised and self.state == "ready" and all(part.state == "healthy" for part in self.components)


def write_status(data_dir: Path, status: StackStatus) -> None:
    """Replace stack.json at once, so that a reader sees the old or the new one. For this user alone: it has a token."""
    target = data_dir / "stack.json"
    unfinished = target.with_suffix(".json.part")
    unfinished.touch(mode=0o600)
    unfinished.write_text(json.dumps(asdict(status), indent=1, default=str), encoding="utf-8")
    unfinished.replace(target)


def read_status(data_dir: Path) -> StackStatus | None:
    """None when no stack has run there, or it was stopped in order."""
    try:
        read: dict[str, Any] = json.loads((data_dir / "stack.json").read_text(encoding="utf-8"))
        components = tuple(ComponentStatus(**component) for component in read.pop("components"))
        return StackStatus(**read, components=components)
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise StackError(f"{data_dir / 'stack.json'} is not readable ({error}): delete it") from error


def remove_status(data_dir: Path) -> None:
    (data_dir / "stack.json").unlink(missing_ok=True)


def running_stack_settings(data_dir: Path | None = None) -> Settings | None:
    """Settings that reach the stack running in `data_dir` (default: that of the settings), or None when none runs.

    What the environment says explicitly is kept.
    """
    status = read_status((data_dir or Settings().data_dir).absolute())
    if status is None or not status.supervised:
        return None
    return Settings(**_without_what_the_environment_says(status.settings, "FRESHET_"))


def environment_of(settings: Settings) -> dict[str, str]:
    """Environment variables that make another process read exactly these settings."""
    dumped = settings.model_dump(mode="json")
    return {
        f"FRESHET_{name.upper()}": value if isinstance(value, str) else json.dumps(value)
        for name, value in dumped.items()
    }


def take_lock(data_dir: Path) -> IO[str]:
    """Hold this data directory until the file is closed. Raises StackError, naming who holds it."""
    data_dir.mkdir(parents=True, exist_ok=True)
    lock = (data_dir / "stack.lock").open("a+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.seek(0)
        pid = lock.read().strip() or "unknown"
        lock.close()
        raise StackError(
            f"a stack is already running in {data_dir} (process {pid}): `freshet local status --data-dir {data_dir}` "
            "shows it, `freshet local down` with the same stops it"
        ) from error
    lock.truncate(0)
    lock.write(f"{os.getpid()}\n")
    lock.flush()
    return lock


def stop_leftovers(status: StackStatus, timeout_seconds: float = 10.0) -> list[str]:
    """End what a killed supervisor left behind, the last started first. Returns the names of what was there."""
    return [
        component.name
        for component in reversed(status.components)
        if component.pid and stop_leftover(component.pid, component.started, timeout_seconds)
    ]


def _without_what_the_environment_says(settings: dict[str, Any], prefix: str) -> dict[str, Any]:
    told = {name.upper() for name in os.environ}
    kept: dict[str, Any] = {}
    for name, value in settings.items():
        variable = f"{prefix}{name.upper()}"
        if variable in told:
            continue
        if isinstance(value, dict):
            value = _without_what_the_environment_says(value, f"{variable}__")
        kept[name] = value
    return kept
