"""Waiting until published records count. May import bootstrap, the client, settings and this room's `publish`."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from freshet import bootstrap
from freshet.client import Freshet, Unavailable
from freshet.codec.tokens import write_token
from freshet.domain.progress import Position
from freshet.errors import DependencyDown
from freshet.ingest.publish import Summary
from freshet.settings import Settings

STALLED_SECONDS = 60.0
POLL_SECONDS = 0.05
REACHED_SECONDS = 5.0
ASKED_FOR = "freshet-publish"
"""The user_id of the question that waits; nobody's profile, and no exposure is kept."""


def wait_applied(settings: Settings, *summaries: Summary, console: Console, timeout_seconds: float = 3600.0) -> None:
    """Wait until the workers have applied every record published and, where recommend is up, its answers count them.

    Raises DependencyDown when no worker gets any further for a minute, or recommend does not.
    """
    last: dict[tuple[str, int], Position] = {}
    for summary in summaries:
        last |= summary.last
    if last:
        _stored(settings, last, console, timeout_seconds)
        _counted(settings, list(last.values()), console)


def _stored(
    settings: Settings, last: dict[tuple[str, int], Position], console: Console, timeout_seconds: float
) -> None:
    worker_of = {
        settings.topics.products: "catalog",
        settings.topics.reviews: "catalog",
        settings.topics.interactions: "profiles",
    }
    store = bootstrap.serving_store(settings)
    try:
        with progress_bar(console) as bar:
            task = bar.add_task("applied", total=None, rate="")
            begun = moved = time.monotonic()
            least: int | None = None
            while True:
                done = {worker: store.progress(worker) for worker in set(worker_of.values())}
                left = 0
                for place, position in last.items():
                    reached = done[worker_of[place[0]]].get(place)
                    left += max(0, position.offset + 1 - (reached.next_offset if reached else 0))
                if least is None:
                    bar.update(task, total=left)
                if least is None or left < least:
                    least, moved = left, time.monotonic()
                bar.update(task, completed=(bar.tasks[task].total or 0) - left, rate=f"{left:,} left")
                if left == 0:
                    return
                if time.monotonic() - moved > STALLED_SECONDS or time.monotonic() - begun > timeout_seconds:
                    raise DependencyDown(
                        "workers", f"{left:,} records are not applied and nothing moves; see `freshet lag`"
                    )
                time.sleep(POLL_SECONDS)
    finally:
        store.close()


def _counted(settings: Settings, positions: Sequence[Position], console: Console) -> None:
    """Ask with `at_least`: a recommend process reads the catalogue on its own, a little after the workers."""
    host, port = settings.recommend.host, settings.recommend.port
    try:
        socket.create_connection((host, port), timeout=REACHED_SECONDS).close()
    except OSError as error:
        console.print(f"Applied by the workers; no recommend service is at {host}:{port}: {error}", markup=False)
        return
    ends = time.monotonic() + STALLED_SECONDS
    with Freshet(recommend=f"{host}:{port}", attempts=1) as client:
        while True:
            why = "does not count yet what the workers have applied"
            try:
                answer = client.recommend(ASKED_FOR, page_size=1, at_least=[write_token(positions)], dry_run=True)
                if answer.freshness.at_least_reached:
                    return
            except Unavailable as error:
                why = error.detail
            if time.monotonic() > ends:
                raise DependencyDown("recommend", f"{host}:{port} {why}")
            time.sleep(POLL_SECONDS)


@contextmanager
def progress_bar(console: Console) -> Iterator[Progress]:
    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description:12s}"),
        BarColumn(bar_width=30),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        console=console,
        disable=not console.is_terminal,
    ) as bar:
        yield bar
