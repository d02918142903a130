"""On a machine where nothing runs, everything that is asked says so, and what to do; what needs it is not asked."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from freshet.doctor.checks import Finding, examine
from freshet.doctor.commands import app
from freshet.local.ports import choose
from freshet.settings import Settings


def nothing(folder: Path) -> Settings:
    """Settings that reach nothing."""
    return Settings(
        kafka_url=f"kafka://127.0.0.1:{choose(0)}",
        database_url=f"sqlite:///{folder}/none.db",
        index_url=f"milvus://127.0.0.1:{choose(0)}",
        encoder_url=f"triton://127.0.0.1:{choose(0)}",
        model_dir=folder / "none",
        data_dir=folder / "none",
        recommend={"port": choose(0)},  # type: ignore[arg-type]
        ingest={"port": choose(0), "host": "0.0.0.0"},  # type: ignore[arg-type]
    )


@pytest.fixture(scope="module")
def findings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Finding]:
    return {found.name: found for found in examine(nothing(tmp_path_factory.mktemp("nothing")))}


@pytest.mark.parametrize("name", ["model", "Kafka", "database", "Triton", "Milvus", "recommend", "ingest"])
def test_what_is_not_there_is_wrong_and_comes_with_advice(findings: dict[str, Finding], name: str) -> None:
    assert findings[name].state == "wrong"
    assert findings[name].advice


@pytest.mark.parametrize("name", ["topics", "canary", "collection", "catalog worker", "profiles worker"])
def test_what_needs_it_is_not_asked(findings: dict[str, Finding], name: str) -> None:
    assert findings[name].state == "not looked at"
    assert not findings[name].advice


def test_a_service_that_everybody_can_reach_is_told(findings: dict[str, Finding]) -> None:
    assert findings["addresses"].state == "wrong"
    assert "ingest" in findings["addresses"].found


def test_the_python_that_runs_this_will_do(findings: dict[str, Finding]) -> None:
    assert findings["Python"].state == "good"


@pytest.mark.parametrize(("free", "state"), [(60e9, "good"), (4e9, "wrong")])
def test_a_disk_that_is_nearly_full_is_told(
    free: float, state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: SimpleNamespace(free=free))
    (disk,) = [found for found in examine(nothing(tmp_path)) if found.name == "disk"]
    assert disk.state == state
    assert f"{free / 1e9:.0f}" in disk.found


def test_the_command_ends_with_one_object_and_says_by_its_exit_code_that_something_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = nothing(tmp_path)
    for name in ("kafka_url", "database_url", "index_url", "encoder_url", "model_dir"):
        monkeypatch.setenv(f"FRESHET_{name.upper()}", str(getattr(settings, name)))
    result = CliRunner().invoke(app, ["--json"])
    told = json.loads(result.stdout.splitlines()[-1])
    assert result.exit_code == 1
    assert not told["good"]
    assert {check["name"]: check["state"] for check in told["checks"]}["Kafka"] == "wrong"
