"""One component run by itself, for tests that need no more. May import freshet.errors."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from freshet.errors import FreshetError, StackError
from freshet.local.component import Component
from freshet.local.processes import Child, rotate, spawn, tail


@contextmanager
def running(component: Component, log: Path, *, stop_seconds: float | None = None) -> Iterator[Child]:
    """Start, wait until the probe succeeds, yield, stop (`stop_seconds` 0 kills at once).

    Raises StackError when it does not work within the component's deadline; the text ends with the end of its log.
    """
    component.prepare()
    rotate(log)
    child = spawn(
        component.name, component.command, log=log, environment=component.environment, folder=component.folder
    )
    try:
        _wait_until_it_works(component, child, log)
        yield child
    finally:
        component.close()
        child.stop(component.stop_seconds if stop_seconds is None else stop_seconds, component.stop_signal)


def _wait_until_it_works(component: Component, child: Child, log: Path) -> None:
    deadline = time.monotonic() + component.deadline_seconds
    while True:
        try:
            component.probe()
            return
        except FreshetError as error:
            if not child.running or time.monotonic() > deadline:
                last = "\n".join(tail(log, 15))
                raise StackError(f"{component.name} did not start ({error}). Its log, {log}, ends:\n{last}") from error
        time.sleep(0.05)
