"""Keeps one component running: starts it, asks its probe, starts it again with backoff. May import freshet.errors."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

from freshet.errors import FreshetError, StackError
from freshet.local.component import Component
from freshet.local.processes import Child, rotate, spawn, tail
from freshet.local.state import ComponentStatus, State

FIRST_BACKOFF_SECONDS = 0.5
LONGEST_BACKOFF_SECONDS = 30.0
HEALTH_THAT_FORGIVES_SECONDS = 60.0
"""After so long in health the backoff starts anew."""
FIRST_STARTS = 3
"""A component that never worked is tried so often before the stack gives up."""


class Supervised:
    """One component with the thread that looks after it. `changed` is called, from that thread, at every change."""

    def __init__(
        self,
        component: Component,
        log: Path,
        changed: Callable[[], None],
        report: Callable[[str], None],
    ) -> None:
        self.component = component
        self.log = log
        self._changed = changed
        self._report = report
        self._condition = threading.Condition()
        self._stopping = threading.Event()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._child: Child | None = None
        self._killed: Child | None = None
        self._state: State = "waiting"
        self._detail = ""
        self._since = time.time()
        self._was_healthy = False
        self._failures = 0
        self.restarts = 0
        self.given_up: str | None = None

    @property
    def status(self) -> ComponentStatus:
        child = self._child
        return ComponentStatus(
            name=self.component.name,
            state=self._state,
            detail=self._detail,
            pid=child.pid if child else 0,
            started=child.started if child else 0.0,
            port=self.component.port,
            metrics_port=self.component.ports.get("metrics", 0),
            restarts=self.restarts,
            since=self._since,
            log=str(self.log),
        )

    @property
    def pid(self) -> int:
        """0 while there is no process."""
        child = self._child
        return child.pid if child else 0

    def start(self) -> None:
        """Begin in the background; does nothing while it runs already."""
        if self._thread is not None:
            return
        self._stopping.clear()
        self._wake.clear()
        self._was_healthy, self._failures, self.given_up = False, 0, None
        rotate(self.log)
        self._thread = threading.Thread(target=self._run, name=f"supervise-{self.component.name}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the process and the watching; returns when both are over."""
        self._stopping.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def kill(self) -> None:
        """Kill the process group as a crash would. It is started again, as after a crash."""
        with self._condition:
            child = self._child
            if child is None:
                return
            self._killed = child
            self._no_longer_healthy("killed")
        child.kill()
        self._wake.set()

    def wait_healthy(self, timeout_seconds: float) -> None:
        """Raises StackError when it gave up, or is not healthy within that time."""
        deadline = time.monotonic() + timeout_seconds
        with self._condition:
            while self._state != "healthy":
                left = deadline - time.monotonic()
                if self.given_up is not None:
                    raise StackError(self.given_up)
                if left <= 0:
                    raise StackError(f"{self.component.name} is {self._state} ({self._detail}); its log is {self.log}")
                self._condition.wait(min(left, 1.0))

    def _run(self) -> None:
        backoff = FIRST_BACKOFF_SECONDS
        try:
            while not self._stopping.is_set():
                began = time.monotonic()
                reason = self._one_life()
                if self._stopping.is_set():
                    break
                if self._was_healthy and time.monotonic() - began > HEALTH_THAT_FORGIVES_SECONDS:
                    backoff = FIRST_BACKOFF_SECONDS
                self._failures += 1
                if not self._was_healthy and self._failures >= FIRST_STARTS:
                    self._give_up(reason)
                    return
                self.restarts += 1
                self._report(f"{self.component.name} {reason}: starting it again in {backoff:.1f} s")
                self._set("restarting", reason)
                self._stopping.wait(backoff)
                backoff = min(backoff * 2, LONGEST_BACKOFF_SECONDS)
        finally:
            self.component.close()
            if self.given_up is None:
                self._set("stopped", "")

    def _one_life(self) -> str:
        """From start to end of one process; why it ended."""
        part = self.component
        try:
            part.prepare()
            child = spawn(part.name, part.command, log=self.log, environment=part.environment, folder=part.folder)
        except FreshetError as error:
            return f"cannot be started: {error}"
        self._child = child
        self._set("starting", "")
        try:
            return self._watch(child)
        finally:
            child.stop(part.stop_seconds, part.stop_signal)
            with self._condition:
                self._child = None
                if not self._stopping.is_set():
                    self._no_longer_healthy("ended")

    def _watch(self, child: Child) -> str:
        part = self.component
        healthy = False
        limit = time.monotonic() + part.deadline_seconds
        while True:
            self._wake.clear()
            if self._stopping.is_set():
                return "stopped"
            if not child.running:
                return f"ended with status {child.process.returncode}"
            try:
                detail = part.probe()
            except FreshetError as error:
                if child.running and time.monotonic() > limit:
                    waited = part.patience_seconds if healthy else part.deadline_seconds
                    return f"did not work for {waited:.0f} s ({error})"
                if child.running:
                    self._set("unhealthy" if healthy else "starting", str(error))
                self._wait(child, 0.2)
                continue
            if not child.running:
                continue
            healthy = self._was_healthy = True
            limit = time.monotonic() + part.patience_seconds
            with self._condition:
                # A probe that began before the kill may end well after it.
                if self._killed is not child:
                    self._set("healthy", detail)
            self._wait(child, part.probe_every_seconds)

    def _wait(self, child: Child, seconds: float) -> None:
        """Until that time is over, or something happens that the watching should look at."""
        deadline = time.monotonic() + seconds
        while child.running and time.monotonic() < deadline and not self._wake.wait(0.05):
            pass

    def _give_up(self, reason: str) -> None:
        last = "\n".join(tail(self.log, 25))
        text = f"{self.component.name} {reason}. Its log, {self.log}, ends:\n{last}"
        with self._condition:
            self.given_up = text
        self._report(f"{self.component.name} {reason}: giving up after {FIRST_STARTS} starts")
        self._set("stopped", reason)

    def _no_longer_healthy(self, reason: str) -> None:
        """Who waits for health must not find that of a life that is over."""
        if self._state == "healthy":
            self._set("restarting", reason)

    def _set(self, state: State, detail: str) -> None:
        with self._condition:
            changed = state != self._state
            if not changed and detail == self._detail:
                return
            if changed:
                self._since = time.time()
                if state == "healthy":
                    self._report(f"{self.component.name} is healthy")
            self._state, self._detail = state, detail
            self._condition.notify_all()
        self._changed()
