"""What a line of the log says of a shopper, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from freshet.telemetry import user_hash

PROGRAM = """
import logging, structlog
from freshet.settings import Settings
from freshet.telemetry import configure_logging
configure_logging(Settings(log_format={format!r}, log_level="debug"), "test")
getattr(structlog.get_logger(), {level!r})("looked", user_id="ann@example.org", product_id="boot-1")
"""


def written(format: str, level: str) -> str:
    program = PROGRAM.format(format=format, level=level)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    return done.stderr


@pytest.mark.parametrize("level", ["info", "warning", "error"])
def test_a_shopper_is_called_by_a_hash(level: str) -> None:
    line = json.loads(written("json", level))
    assert line["user_hash"] == user_hash("ann@example.org")
    assert line["product_id"] == "boot-1"
    assert "user_id" not in line
    assert "ann@" not in written("console", level)


def test_who_debugs_sees_the_id() -> None:
    assert json.loads(written("json", "debug"))["user_id"] == "ann@example.org"


def test_two_shoppers_have_two_hashes() -> None:
    assert user_hash("ann") == user_hash("ann") != user_hash("bob")
    assert len(user_hash("\udcff" * 300)) == 16
