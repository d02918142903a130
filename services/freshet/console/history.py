"""The last hour, in steps of ten seconds: the largest value of each step. Pure but for what it remembers."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

STEP_SECONDS = 10
HOUR_STEPS = 360


class History:
    """A ring per series; series begin when they are first added to. Times are seconds since the epoch."""

    def __init__(self) -> None:
        self._steps: deque[int] = deque(maxlen=HOUR_STEPS)
        self._series: dict[str, deque[float | None]] = {}

    def add(self, now: float, values: Mapping[str, float | None]) -> None:
        step = int(now // STEP_SECONDS)
        last = self._steps[-1] if self._steps else step - 1
        for missed in range(max(last + 1, step - HOUR_STEPS + 1), step + 1):
            self._steps.append(missed)
            for ring in self._series.values():
                ring.append(None)
        for name, value in values.items():
            ring = self._series.setdefault(name, deque([None] * len(self._steps), maxlen=HOUR_STEPS))
            if value is not None:
                ring[-1] = value if ring[-1] is None else max(ring[-1], value)

    def read(self) -> dict[str, object]:
        """As JSON: `end` is the time of the newest step, each series has one value per step, the newest last."""
        return {
            "end": self._steps[-1] * STEP_SECONDS if self._steps else 0,
            "step": STEP_SECONDS,
            "series": {
                name: [None if value is None else round(value, 4) for value in ring]
                for name, ring in self._series.items()
            },
        }
