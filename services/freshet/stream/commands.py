"""`freshet worker`, `freshet lag` and `freshet dead-letters`. May import `bootstrap` and this room."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from freshet import bootstrap
from freshet.adapters.kafka import ensure_topics
from freshet.errors import InvalidInput, NotFound
from freshet.settings import Settings
from freshet.stream import dead_letters as letters
from freshet.stream.lag import PartitionLag, worker_status, worker_topics
from freshet.telemetry import configure_logging

worker_app = typer.Typer(add_completion=False, no_args_is_help=True, help="Run a stream worker.")
lag_app = typer.Typer(add_completion=False, help="How far each worker is behind.")
dead_letters_app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="List, show and replay what could not be read."
)
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


class WorkerName(StrEnum):
    CATALOG = "catalog"
    INDEX = "index"
    PROFILES = "profiles"
    ALL = "all"


@worker_app.command()
def worker(
    name: Annotated[
        WorkerName,
        typer.Argument(
            help="catalog: products and reviews into vectors; index: vectors into Milvus; profiles: interactions into "
            "profiles; all: each of them in a process of its own."
        ),
    ],
) -> None:
    """Apply records from Kafka until told to stop (SIGTERM or Ctrl-C).

    Several of a kind share the partitions of its topics. Where Kafka, the database and Triton are is said by
    FRESHET_KAFKA_URL, FRESHET_DATABASE_URL, FRESHET_ENCODER_URL, FRESHET_INDEX_URL and FRESHET_MODEL_DIR.
    """
    settings = Settings()
    configure_logging(settings, f"worker-{name}")
    if name is WorkerName.ALL:
        names = [each.value for each in WorkerName if each is not WorkerName.ALL]
        raise typer.Exit(_supervise(names, settings.metrics_port))
    ensure_topics(settings.kafka_url, settings.topics)
    bootstrap.migrate(settings)
    from freshet.stream.worker import run_worker

    run_worker(_handler(name, settings), settings)


def _handler(name: WorkerName, settings: Settings) -> Any:
    match name:
        case WorkerName.CATALOG:
            from freshet.stream.catalog import open_catalog_worker

            return open_catalog_worker(settings)
        case WorkerName.INDEX:
            from freshet.stream.index import open_index_worker

            return open_index_worker(settings)
        case _:
            from freshet.stream.profiles import ProfileWorker

            sink = letters.DeadLetters(bootstrap.producer(settings), settings.topics.dead_letters)
            return ProfileWorker(bootstrap.profile_store(settings), sink, settings)


def _supervise(names: Sequence[str], metrics_port: int) -> int:
    """Run each worker as a child, start again those that end, and stop all on SIGTERM or SIGINT.

    Metrics, when they are on, are at `metrics_port` and the ports after it, in the order of `names`.
    """
    stopping = False

    def stop(_signal: int, _frame: Any) -> None:
        nonlocal stopping
        stopping = True

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)

    def start(name: str) -> subprocess.Popen[bytes]:
        # A session of its own: Ctrl-C reaches this process alone, which then stops its children in order.
        command = [sys.executable, "-c", "from freshet.cli import main; main()", "worker", name]
        port = metrics_port + names.index(name) if metrics_port else 0
        environment = os.environ | {"FRESHET_METRICS_PORT": str(port)}
        return subprocess.Popen(command, start_new_session=True, env=environment)

    children = {name: start(name) for name in names}
    started = dict.fromkeys(names, time.monotonic())
    while not stopping:
        time.sleep(0.2)
        for name, child in children.items():
            # Not more often than every two seconds, so that a wrong setting does not burn a core.
            if child.poll() is not None and time.monotonic() - started[name] > 2.0 and not stopping:
                children[name], started[name] = start(name), time.monotonic()
    for child in children.values():
        child.terminate()
    for child in children.values():
        try:
            child.wait(timeout=10.0)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
    return 0


@lag_app.command()
def lag(as_json: Json = False) -> None:
    """How far each worker is behind, partition by partition.

    Compares what the database has applied with the ends of the topics in Kafka; no worker needs to run.
    """
    settings = Settings()
    store = bootstrap.profile_store(settings)
    try:
        rows = [row for name in worker_topics(settings.topics) for row in worker_status(settings, name, store)]
    finally:
        store.close()
    if as_json:
        print(json.dumps([asdict(row) for row in rows]))
        return
    _print_lag(rows)


def _print_lag(rows: Sequence[PartitionLag]) -> None:
    table = Table(box=SIMPLE, pad_edge=False)  # A topic's name fits 80 columns.
    for column in ("worker", "topic", "partition", "applied", "end", "waiting"):
        table.add_column(column, justify="left" if column in ("worker", "topic") else "right", no_wrap=True)
    for row in rows:
        numbers = (row.partition, row.applied_offset, row.end_offset, row.lag_records)
        table.add_row(row.worker, row.topic, *(f"{number:,}" for number in numbers))
    Console().print(table)


Reason = Annotated[str, typer.Option("--reason", help="Only this reason: UNREADABLE, INVALID, IMAGE or TOO_LARGE.")]


@dead_letters_app.command("list")
def list_letters(
    reason: Reason = "",
    limit: Annotated[int, typer.Option(help="Show at most so many, the newest; 0: all.")] = 50,
    as_json: Json = False,
) -> None:
    """One line per letter. Its name, partition/offset, is what `show` and `replay` take."""
    chosen = sorted(_read(Settings(), reason), key=lambda letter: letter.message.failed_at.ToNanoseconds())
    chosen = chosen[-limit:] if limit else chosen
    if as_json:
        print(json.dumps([_described(letter) for letter in chosen]))
        return
    table = Table(box=SIMPLE, pad_edge=False)
    for column in ("letter", "reason", "from", "worker", "detail"):
        table.add_column(column, overflow="fold")
    for letter in chosen:
        source = letter.message.source
        origin = f"{source.topic}/{source.partition}/{source.offset}"
        table.add_row(letter.name, letter.reason, origin, letter.message.worker, escape(letter.message.detail))
    Console().print(table)


@dead_letters_app.command("show")
def show_letter(
    name: Annotated[str, typer.Argument(help="partition/offset, as `list` shows it.")], as_json: Json = False
) -> None:
    """Everything about one letter, with the record's own bytes."""
    described = _described(_find(_read(Settings(), ""), [name])[0], whole=True)
    if as_json:
        print(json.dumps(described))
        return
    for key, value in described.items():
        print(f"{key}: {_harmless(str(value))}")


@dead_letters_app.command("replay")
def replay_letters(
    names: Annotated[list[str] | None, typer.Argument(help="partition/offset of each.")] = None,
    reason: Reason = "",
    every: Annotated[bool, typer.Option("--all", help="All of them (or all of --reason).")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be published, and publish nothing.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Publish the original records again, to where they came from."""
    if not names and not (every or reason):
        raise InvalidInput("", "name the letters to replay (partition/offset), or pass --reason or --all")
    settings = Settings()
    chosen = _read(settings, reason)
    if names:
        chosen = _find(chosen, names)
    places = []
    if not dry_run:
        producer = bootstrap.producer(settings)
        try:
            places = letters.replay(producer, chosen)
        finally:
            producer.close()
    if as_json:
        new = [f"{place.topic}/{place.partition}/{place.offset}" for place in places]
        print(json.dumps({"replayed": len(places), "chosen": [letter.name for letter in chosen], "places": new}))
    elif dry_run:
        print(f"{len(chosen)} records would be published again")
    else:
        print(f"{len(places)} records were published again")


def _read(settings: Settings, reason: str) -> list[letters.Letter]:
    if reason and reason.upper() not in letters.REASONS:
        raise InvalidInput("--reason", f"is {reason!r}; one of UNREADABLE, INVALID, IMAGE, TOO_LARGE is needed")
    found = letters.read_letters(settings.kafka_url, settings.topics.dead_letters)
    return [letter for letter in found if not reason or letter.reason == reason.upper()]


def _find(found: Sequence[letters.Letter], names: Sequence[str]) -> list[letters.Letter]:
    by_name = {letter.name: letter for letter in found}
    for name in names:
        if name not in by_name:
            raise NotFound(f"there is no dead letter {name!r}; `freshet dead-letters list` shows them")
    return [by_name[name] for name in names]


def _harmless(text: str) -> str:
    """Strangers' bytes must not steer the terminal of whoever looks at them."""
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode("ascii") for c in text)


def _described(letter: letters.Letter, *, whole: bool = False) -> dict[str, Any]:
    message = letter.message
    described: dict[str, Any] = {
        "letter": letter.name,
        "reason": letter.reason,
        "detail": message.detail,
        "topic": message.source.topic,
        "partition": message.source.partition,
        "offset": message.source.offset,
        "worker": message.worker,
        "failed_at": message.failed_at.ToJsonString(),
    }
    if whole:
        described["key"] = message.key.decode("utf-8", "backslashreplace")
        described["headers"] = {k: v.decode("utf-8", "backslashreplace") for k, v in sorted(message.headers.items())}
        described["value_bytes"] = len(message.value)
        described["value"] = message.value[:4_096].decode("utf-8", "backslashreplace")
    return described
