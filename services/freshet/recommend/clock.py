"""The time that one call has. Imports nothing of Freshet."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

ANSWER_SECONDS = 0.01
"""Kept back from every deadline for ranking and sending."""
ANSWER_SHARE = 0.03
"""The same of a long one: gRPC rounds the time that it tells a server up, to three digits at best."""


@dataclass(slots=True)
class Clock:
    """The time left to one call, in seconds, and what had to be left out because of it."""

    until: float
    missing: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, seconds: float) -> Clock:
        """From now on, for a call that must be answered within so many."""
        return cls(time.monotonic() + seconds - max(ANSWER_SECONDS, ANSWER_SHARE * seconds))

    def left(self, longest: float = float("inf")) -> float:
        """Time a dependency may take now: never into what the answer itself needs."""
        return max(min(self.until - time.monotonic(), longest), 0.0)
