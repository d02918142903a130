"""The whole of it: a small shop through the real line, clicked, and measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from installed import require
from typer.testing import CliRunner

from freshet.demo.commands import app

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]


def test_the_demo_shows_an_answer_that_a_click_changed_and_beats_popularity(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    require()
    result = CliRunner().invoke(app, ["--once", "--json", "--products", "300", "--data-dir", str(tmp_path)])
    assert result.exit_code == 0, result.output
    summary = json.loads(result.stdout.splitlines()[-1])
    assert summary["products"] == 300
    assert summary["answer_changed"]
    assert summary["hit_rate_at_10"] > summary["popularity_hit_rate_at_10"]
    assert 0 < summary["click_to_answer_ms"]["p50"] < 1_000
    assert "<img" in Path(summary["page"]).read_text(encoding="utf-8")
