"""Every panel of the dashboards asks for something that a real line really tells."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any

import pytest
from watching import Prometheus, Shop

pytestmark = pytest.mark.stack
FILES = sorted((Path(__file__).parents[2] / "deploy" / "grafana").glob("*.json"))
BOARDS: dict[str, dict[str, Any]] = {path.stem: json.loads(path.read_text()) for path in FILES}
TARGETS = [
    pytest.param(target["expr"], id=f"{name}-{panel['title']}-{target['refId']}")
    for name, board in BOARDS.items()
    for panel in board["panels"]
    for target in panel["targets"]
]


@pytest.fixture(scope="module")
def busy(shop: Shop, prometheus: Prometheus) -> Prometheus:
    """The line after two rounds of events, the second while Prometheus looked: rates have something to tell."""
    prometheus.wait('count(up{job="freshet"} == 1)', lambda up: up == 5)
    prometheus.wait('count(freshet_freshness_seconds_count{event="review"})', lambda series: series >= 1)
    shop.round(100.0)
    return prometheus


@pytest.mark.parametrize("expression", TARGETS)
def test_the_panel_has_data(busy: Prometheus, expression: str) -> None:
    promql = expression.replace("$__rate_interval", "5m")
    assert "$" not in promql, "a variable that this test does not know"
    deadline = time.monotonic() + 40.0
    found: list[float] = []
    while not any(map(math.isfinite, found)):
        assert time.monotonic() < deadline, f"{promql} gives {found or 'nothing'}"
        time.sleep(0.1)
        found = [float(series["value"][1]) for series in busy.query(promql)]


def test_panels_have_a_place_of_their_own_a_unit_and_the_boards_datasource() -> None:
    for board in BOARDS.values():
        assert [variable["type"] for variable in board["templating"]["list"]] == ["datasource"]
        cells: set[tuple[int, int]] = set()
        for panel in board["panels"]:
            place = panel["gridPos"]
            own = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
            assert not own & cells
            assert place["x"] + place["w"] <= 24
            cells |= own
            assert panel["description"]
            assert panel["fieldConfig"]["defaults"]["unit"]
            assert {target["datasource"]["uid"] for target in panel["targets"]} == {"${datasource}"}
