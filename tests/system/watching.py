"""A running Prometheus, as tests ask it."""

from __future__ import annotations

import json
import time
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Prometheus:
    """A running server's HTTP API."""

    address: str

    def query(self, promql: str) -> list[dict[str, Any]]:
        """An instant query's series, each with `metric` and `value`. Raises AssertionError where PromQL is wrong."""
        data = self.get(f"/api/v1/query?{urllib.parse.urlencode({'query': promql})}")
        assert data["resultType"] == "vector", promql
        found: list[dict[str, Any]] = data["result"]
        return found

    def value(self, promql: str) -> float | None:
        """The one number that a query gives, or None while there is none."""
        found = self.query(promql)
        assert len(found) <= 1, f"{promql} gives {len(found)} series"
        return float(found[0]["value"][1]) if found else None

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(f"http://{self.address}{path}", timeout=10) as answer:
            return json.load(answer)["data"]

    def wait(self, promql: str, holds: Callable[[float], bool], seconds: float = 60.0) -> float:
        """The first value for which `holds`."""
        deadline, value = time.monotonic() + seconds, None
        while time.monotonic() < deadline:
            value = self.value(promql)
            if value is not None and holds(value):
                return value
            time.sleep(0.2)
        raise AssertionError(f"not within {seconds:.0f} s: {promql} is {value}")
