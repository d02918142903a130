"""The shell around a worker, as far as it comes without Kafka."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from freshet.errors import ConfigurationError, DependencyDown
from freshet.settings import Settings
from freshet.stream.worker import Batch, Worker


class Shut:
    """A handler whose dependency never comes."""

    name = "shut"
    topics = ("t",)

    def __init__(self, wrong: Exception) -> None:
        self.wrong = wrong
        self.opened, self.closed = asyncio.Event(), False

    def progress(self) -> Mapping[tuple[str, int], Any]:
        raise AssertionError("nothing was assigned")

    async def open(self) -> None:
        self.opened.set()
        raise self.wrong

    async def apply(self, batch: Batch) -> None:
        raise AssertionError("nothing was fetched")

    async def close(self) -> None:
        self.closed = True


async def test_a_worker_that_waits_before_it_begins_can_be_stopped(tmp_path: Path) -> None:
    handler = Shut(DependencyDown("triton", "not there"))
    worker = Worker(handler, Settings(data_dir=tmp_path))
    running = asyncio.create_task(worker.run())
    await handler.opened.wait()
    worker.stop()
    await asyncio.wait_for(running, 60.0)
    assert handler.closed


async def test_a_worker_that_can_never_begin_ends(tmp_path: Path) -> None:
    worker = Worker(Shut(ConfigurationError("no such model")), Settings(data_dir=tmp_path))
    with pytest.raises(ConfigurationError, match="no such model"):
        await worker.run()
