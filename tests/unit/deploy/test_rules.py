"""The alerts: valid, proven to fire and to keep still, and each with a page that says what to do."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]
RULES = ROOT / "deploy" / "prometheus" / "freshet.rules.yml"
CASES = sorted((ROOT / "deploy" / "prometheus" / "tests").glob("*.yml"))
ALERTS: list[dict[str, Any]] = [
    rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"] if "alert" in rule
]


def promtool(*arguments: str) -> None:
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("no promtool here (Debian: apt-get install prometheus)")
    done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_accepts_the_rules() -> None:
    promtool("check", "rules", str(RULES))


def test_prometheus_accepts_the_sample_configuration() -> None:
    promtool("check", "config", str(RULES.with_name("prometheus.yml")))


def test_every_alert_fires_where_it_should_and_keeps_still_elsewhere() -> None:
    promtool("test", "rules", *map(str, CASES))


def test_every_alert_is_shown_to_fire_and_to_keep_still() -> None:
    shown: dict[str, set[bool]] = defaultdict(set)
    for path in CASES:
        for case in yaml.safe_load(path.read_text())["tests"]:
            for asked in case["alert_rule_test"]:
                shown[asked["alertname"]].add(bool(asked.get("exp_alerts")))
    assert {alert["alert"]: shown[alert["alert"]] for alert in ALERTS} == {
        alert["alert"]: {True, False} for alert in ALERTS
    }


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: f"{alert['alert']}-{alert['labels'].get('what', '')}")
def test_every_alert_has_a_page_that_says_what_to_do(alert: dict[str, Any]) -> None:
    assert alert["labels"]["severity"] in ("page", "ticket")
    page = (ROOT / alert["annotations"]["runbook"]).read_text()
    assert alert["alert"] in page.splitlines()[0]
    for heading in ("**What it means.**", "**What shoppers notice.**", "**Check first**", "**How to mend.**"):
        assert heading in page
    assert [line[:3] for line in page.splitlines() if line[:2] in ("1.", "2.", "3.", "4.")] == ["1. ", "2. ", "3. "]


def test_alerts_and_pages_speak_of_metrics_that_exist() -> None:
    declared = set()
    for path in (ROOT / "services").rglob("*.py"):
        declared |= set(re.findall(r'(?:Counter|Gauge|Histogram)\(\s*"(freshet_\w+)"', path.read_text()))
    texts = [RULES, *(ROOT / "docs" / "runbooks").glob("*.md"), *(ROOT / "deploy" / "grafana").glob("*.json")]
    used = set(re.findall(r"\bfreshet_\w+", "".join(path.read_text() for path in texts)))
    plain = {re.sub(r"_(total|bucket|count|sum)$", "", name) for name in used}
    assert plain <= {re.sub(r"_total$", "", name) for name in declared}
