"""The console stays up when what it looks at is down, and says when it looks no more itself."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from freshet.console import watch as watching
from freshet.console.services import Services
from freshet.console.watch import Watch
from freshet.local.state import ComponentStatus, StackStatus, write_status
from freshet.settings import Settings


def settings(home: Path) -> Settings:
    return Settings(
        kafka_url="kafka://127.0.0.1:9",
        encoder_url="triton://127.0.0.1:9",
        database_url=f"memory://{home.name}",
        data_dir=home,
        model_dir=home / "none",
        recommend={"port": 9},  # type: ignore[arg-type]
        ingest={"port": 9},  # type: ignore[arg-type]
    )


def stack(home: Path, kafka_url: str) -> StackStatus:
    return StackStatus(
        data_dir=str(home),
        state="ready",
        supervisor_pid=2**22 + 1,
        supervisor_started=1.0,
        settings={"kafka_url": kafka_url},
        components=(ComponentStatus(name="triton", state="restarting", detail="ended with status -9"),),
    )


async def first_snapshot(home: Path) -> dict[str, object]:
    chosen = settings(home)
    services = Services(chosen)
    watch = Watch(chosen, services)
    task = asyncio.create_task(watch.run())
    try:
        return await anext(watch.snapshots())
    finally:
        task.cancel()
        await asyncio.wait([task])
        await services.close()


async def test_without_a_system_it_says_what_is_away(tmp_path: Path) -> None:
    shot = await first_snapshot(tmp_path)
    health = {part["name"]: part["state"] for part in shot["health"]}  # type: ignore[attr-defined]
    assert health.pop("database") == "healthy"
    assert health == dict.fromkeys(("kafka", "triton", "recommend", "ingest"), "unhealthy")
    assert [found["about"] for found in shot["findings"]] == ["kafka", "triton", "recommend", "ingest"]  # type: ignore[attr-defined]
    assert all(found["cost"] for found in shot["findings"])  # type: ignore[attr-defined]
    assert shot["rows"] == []
    assert shot["stack"] is None


async def test_a_stack_whose_supervisor_died_is_told_with_its_parts(tmp_path: Path) -> None:
    write_status(tmp_path, stack(tmp_path, "kafka://127.0.0.1:9"))
    shot = await first_snapshot(tmp_path)
    titles = [found["title"] for found in shot["findings"]]  # type: ignore[attr-defined]
    assert titles[0].startswith("The local stack's supervisor is gone")
    assert "triton is restarting: ended with status -9." in titles


async def test_the_state_of_another_system_than_the_settings_name_is_not_shown(tmp_path: Path) -> None:
    write_status(tmp_path, stack(tmp_path, "kafka://127.0.0.1:9092"))
    assert (await first_snapshot(tmp_path))["stack"] is None


async def test_a_watch_that_has_stopped_is_not_healthy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = settings(tmp_path)
    watch = Watch(chosen, Services(chosen))
    assert watch.working
    monkeypatch.setattr(watching, "SILENT_SECONDS", 0.0)
    assert not watch.working
