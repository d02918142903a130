"""`freshet local` on real parts: what it starts works, what dies comes back, and nothing is left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient
from waiting import wait_until

from freshet import bootstrap
from freshet.adapters.kafka import ensure_topics
from freshet.errors import DependencyDown, StackError
from freshet.local.kafka import BrokerHealth, temporary_broker
from freshet.local.milvus import MilvusHealth
from freshet.local.processes import group_members, start_time
from freshet.local.stack import COMPONENTS, LocalStack
from freshet.local.state import read_status, running_stack_settings
from freshet.settings import Settings, Topics

pytestmark = pytest.mark.stack

FRESHET = Path(sys.executable).with_name("freshet")


def freshet(*arguments: str, home: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [FRESHET, "local", *arguments, "--data-dir", str(home)],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def status(home: Path) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(freshet("status", "--json", home=home).stdout)
    return answer


def component(home: Path, name: str) -> dict[str, Any]:
    return next(part for part in status(home)["components"] if part["name"] == name)


def processes_of(home: Path) -> set[int]:
    """Every process of the stack: its supervisor, and all members of every component's group."""
    written = read_status(home)
    assert written is not None
    return {written.supervisor_pid} | {pid for part in written.components for pid in group_members(part.pid)}


def alive(pids: set[int]) -> list[int]:
    return [pid for pid in pids if start_time(pid) is not None]


def topics(url: str) -> set[str]:
    admin = AdminClient({"bootstrap.servers": url.removeprefix("kafka://"), "log_level": 0})
    return {name for name in admin.list_topics(timeout=60).topics if not name.startswith("__")}


@pytest.fixture
def home(tmp_path: Path, kafka: str, milvus: str) -> Iterator[Path]:
    """A data directory of its own. The session's Kafka and Milvus are asked for because where they run, these do."""
    yield tmp_path / "stack"
    freshet("down", home=tmp_path / "stack")


def test_up_returns_when_all_is_healthy_and_down_leaves_no_process(home: Path) -> None:
    started = freshet("up", "--detach", "--components", "kafka,milvus", home=home)
    assert started.returncode == 0, started.stderr
    settings = running_stack_settings(home)
    assert settings is not None
    assert topics(settings.kafka_url) >= {"freshet.products.v1", "freshet.interactions.v1"}
    assert MilvusHealth(settings.index_url.removeprefix("milvus://")).check() == "0 collections"
    assert freshet("status", home=home).returncode == 0
    assert "kafka" in freshet("logs", "stack", home=home).stdout
    pids = processes_of(home)
    assert len(pids) == 3

    assert freshet("down", home=home).returncode == 0

    assert alive(pids) == []
    assert running_stack_settings(home) is None
    assert freshet("status", home=home).returncode == 1


def test_what_was_written_is_there_after_down_and_up(home: Path) -> None:
    assert freshet("up", "--detach", "--components", "kafka", home=home).returncode == 0
    first = running_stack_settings(home)
    assert first is not None
    ensure_topics(first.kafka_url, Topics(products="kept"))
    assert freshet("down", home=home).returncode == 0

    assert freshet("up", "--detach", "--components", "kafka", home=home).returncode == 0

    again = running_stack_settings(home)
    assert again is not None
    assert "kept" in topics(again.kafka_url)


def test_a_component_that_is_killed_comes_back_and_is_reported(home: Path) -> None:
    assert freshet("up", "--detach", "--components", "kafka", home=home).returncode == 0
    before = component(home, "kafka")

    os.kill(before["pid"], signal.SIGKILL)

    wait_until(lambda: component(home, "kafka")["restarts"] == 1, "kafka is counted as restarted")
    wait_until(lambda: status(home)["healthy"], "kafka is healthy again")
    after = component(home, "kafka")
    assert after["pid"] != before["pid"]
    settings = running_stack_settings(home)
    assert settings is not None
    assert "freshet.products.v1" in topics(settings.kafka_url)
    assert "kafka ended with status -9: starting it again in 0.5 s" in freshet("logs", "stack", home=home).stdout


def test_a_second_up_in_the_same_place_is_refused_and_says_who_runs(home: Path) -> None:
    assert freshet("up", "--detach", "--components", "kafka", home=home).returncode == 0

    second = freshet("up", "--components", "kafka", home=home)

    assert second.returncode == 2
    assert f"process {status(home)['supervisor_pid']}" in second.stderr
    assert "freshet local down" in second.stderr
    assert status(home)["healthy"]


def test_nothing_outlives_a_supervisor_that_is_killed(home: Path) -> None:
    assert freshet("up", "--detach", "--components", "kafka,milvus", home=home).returncode == 0
    pids = processes_of(home)
    written = read_status(home)
    assert written is not None

    os.kill(written.supervisor_pid, signal.SIGKILL)

    wait_until(lambda: not alive(pids), "all its processes are gone", seconds=10)
    assert running_stack_settings(home) is None
    assert freshet("up", "--detach", "--components", "kafka", home=home).returncode == 0


def test_a_part_that_cannot_work_is_given_up_with_the_end_of_its_log(home: Path) -> None:
    properties = home / "kafka-data" / "data" / "meta.properties"
    properties.parent.mkdir(parents=True)
    properties.write_text("version=1\nnode.id=7\n")

    started = freshet("up", "--components", "kafka", home=home)

    assert started.returncode == 2
    assert "kafka ended with status 1" in started.stderr
    assert "cluster.id was not found" in started.stderr
    assert read_status(home) is None


def test_the_stack_is_a_context_for_tests_and_its_parts_can_be_stopped_and_started(home: Path) -> None:
    with LocalStack(home, {"topics": {"partitions": 2}}, ["kafka"], usual_ports=False) as stack:
        url = stack.settings.kafka_url
        assert stack.settings.topics.partitions == 2
        stack.stop_component("kafka")
        with pytest.raises(DependencyDown):
            BrokerHealth(url.removeprefix("kafka://")).check()
        with pytest.raises(StackError, match="no process"):
            stack.pid("kafka")
        stack.start_component("kafka")
        assert "freshet.products.v1" in topics(url)
        pid = stack.pid("kafka")
        stack.kill("kafka")
        stack.wait_healthy()
        assert stack.pid("kafka") != pid
        assert stack.restarts("kafka") == 1


def test_brokers_run_side_by_side_and_end_with_their_block(kafka: str) -> None:
    with temporary_broker() as other:
        assert other != kafka
        assert topics(other) == set()
    with pytest.raises(DependencyDown):
        BrokerHealth(other.removeprefix("kafka://")).check()


def test_the_whole_line_runs_and_a_killed_worker_is_at_work_again(stack: LocalStack) -> None:
    assert {part.name: part.state for part in stack.status().components} == dict.fromkeys(COMPONENTS, "healthy")
    before = stack.pid("catalog")

    stack.kill("catalog")
    stack.wait_healthy("catalog")

    assert stack.pid("catalog") != before
    assert [part.detail for part in stack.status().components if part.name == "catalog"] == ["8 partitions"]


def test_triton_answers_with_the_model_it_was_given(triton: str, small_model: Path) -> None:
    settings = Settings(encoder_url=triton, model_dir=small_model)
    bootstrap.encoders(settings).check_and_close()
