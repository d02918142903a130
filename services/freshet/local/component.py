"""What the supervisor needs to know of one part of the stack. Imports nothing of Freshet."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Component:
    """One process of the stack, and how to tell that it works.

    `prepare` runs before every start (writes configuration; may raise StackError). `probe` asks the running process
    something real, returns a word or two about its state, and raises FreshetError while it does not work. A component
    that runs but fails its probe for `patience_seconds` is restarted. `close` frees what the probe holds.
    """

    name: str
    command: Sequence[str]
    ports: Mapping[str, int]
    probe: Callable[[], str]
    environment: Mapping[str, str] = field(default_factory=dict)
    folder: Path | None = None
    prepare: Callable[[], None] = lambda: None
    close: Callable[[], None] = lambda: None
    deadline_seconds: float = 60.0
    patience_seconds: float = 30.0
    probe_every_seconds: float = 2.0
    stop_signal: signal.Signals = signal.SIGTERM
    stop_seconds: float = 10.0

    @property
    def port(self) -> int:
        """The port that callers use; 0 for one that serves nobody."""
        return next((port for use, port in self.ports.items() if use != "metrics"), 0)
