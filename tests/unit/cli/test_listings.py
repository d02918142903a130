"""Every command that lists something lists it for programs too."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from freshet.adapters.sql.commands import app as database
from freshet.adapters.sql.revisions import newest
from freshet.adapters.sql.tables import METADATA
from freshet.cli import app

LISTINGS = ("local status", "doctor", "recommend", "lag", "dead-letters list", "dead-letters show", "db status")


@pytest.mark.parametrize("command", LISTINGS)
def test_a_listing_has_json(command: str) -> None:
    helped = CliRunner().invoke(app, [*command.split(), "--help"], prog_name="freshet", env={"COLUMNS": "200"})
    assert helped.exit_code == 0, helped.output
    assert "--json" in helped.stdout


def test_the_databases_state_for_programs(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/freshet.db"
    assert CliRunner().invoke(database, ["upgrade", "--url", url]).exit_code == 0
    done = CliRunner().invoke(database, ["status", "--url", url, "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["revision"] == found["newest"] == newest()
    assert found["rows"] == {table.name: 0 for table in METADATA.sorted_tables}
    assert found["applied"] == []
    told = CliRunner().invoke(database, ["status", "--url", url]).stdout
    assert f"revision {newest()}" in told
    assert "profiles" in told
