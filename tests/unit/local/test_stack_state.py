"""What a running stack writes down can be read by other processes, and names what it is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from freshet.errors import ConfigurationError, StackError
from freshet.local.processes import start_time
from freshet.local.stack import LocalStack
from freshet.local.state import (
    ComponentStatus,
    StackStatus,
    environment_of,
    read_status,
    running_stack_settings,
    take_lock,
    write_status,
)
from freshet.settings import Settings


def running(home: Path, started: float | None = None) -> StackStatus:
    return StackStatus(
        data_dir=str(home),
        state="ready",
        supervisor_pid=os.getpid(),
        supervisor_started=started if started is not None else start_time(os.getpid()) or 0.0,
        settings={"kafka_url": "kafka://127.0.0.1:1234", "recommend": {"port": 7272}},
        components=(ComponentStatus(name="kafka", state="healthy", pid=os.getpid(), port=1234),),
    )


def test_a_status_is_read_as_it_was_written(tmp_path: Path) -> None:
    write_status(tmp_path, running(tmp_path))
    assert read_status(tmp_path) == running(tmp_path)
    assert running(tmp_path).healthy


def test_commands_find_the_running_stack(tmp_path: Path) -> None:
    write_status(tmp_path, running(tmp_path))
    settings = running_stack_settings(tmp_path)
    assert settings is not None
    assert (settings.kafka_url, settings.recommend.port) == ("kafka://127.0.0.1:1234", 7272)
    assert settings.recommend.interests == Settings().recommend.interests


def test_what_the_environment_says_wins_over_the_running_stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_status(tmp_path, running(tmp_path))
    monkeypatch.setenv("FRESHET_RECOMMEND__PORT", "9999")
    settings = running_stack_settings(tmp_path)
    assert settings is not None
    assert (settings.kafka_url, settings.recommend.port) == ("kafka://127.0.0.1:1234", 9999)


def test_a_stack_whose_supervisor_is_gone_does_not_run(tmp_path: Path) -> None:
    write_status(tmp_path, running(tmp_path, started=1.0))
    assert running_stack_settings(tmp_path) is None
    assert running_stack_settings(tmp_path / "absent") is None


def test_a_status_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "stack.json").write_text("{")
    with pytest.raises(StackError, match=r"stack\.json is not readable"):
        read_status(tmp_path)


def test_a_data_directory_has_one_stack_at_a_time(tmp_path: Path) -> None:
    with take_lock(tmp_path), pytest.raises(StackError, match=f"process {os.getpid()}"):
        take_lock(tmp_path)
    take_lock(tmp_path).close()


def test_another_process_reads_the_same_settings_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(
        kafka_url="kafka://h:1", topics={"partitions": 7}, images={"file_roots": ["/a"]}, metrics_port=9
    )
    for name, value in environment_of(settings).items():
        monkeypatch.setenv(name, value)
    assert Settings() == settings


def test_an_unknown_component_is_named() -> None:
    with pytest.raises(ConfigurationError, match="kafak"):
        LocalStack(components=["kafak"])
