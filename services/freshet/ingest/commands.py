"""`freshet publish`, `freshet import` and `freshet serve ingest`. May import bootstrap and this room."""

from __future__ import annotations

import asyncio
import json
import signal
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from freshet import bootstrap, tracing
from freshet.adapters.kafka import ensure_topics
from freshet.codec.tokens import write_token
from freshet.errors import ConfigurationError, InvalidInput
from freshet.ingest import hm
from freshet.ingest.files import STANDARD_INPUT, Format, format_of, read_rows
from freshet.ingest.mapping import Columns, What, field_names, read_columns
from freshet.ingest.publish import Source, Summary, events_of, publish_events
from freshet.ingest.records import RecordWriter
from freshet.ingest.sources import DAY_US, hm_interactions, hm_products
from freshet.ingest.waiting import progress_bar, wait_applied
from freshet.settings import Settings

publish_app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Publish products, reviews or interactions from files."
)
import_app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Publish a known data set: products and purchases."
)
ERRORS_SHOWN = 50
BULK_LINGER_MS = 20.0

Files = Annotated[list[str], typer.Argument(metavar="FILE…", help="JSON Lines, CSV or Parquet, also .gz; - is stdin.")]
FormatOption = Annotated[Format | None, typer.Option("--format", help="Default: by the file's name; stdin: jsonl.")]
MapOption = Annotated[
    list[str] | None, typer.Option("--map", metavar="FIELD=COLUMN", help="Take a field from a column of another name.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="FIELD=VALUE", help="A field's value where the file has no column for it."),
]
MappingOption = Annotated[
    Path | None,
    typer.Option("--mapping", metavar="TOML", help="What --map and --set say, as tables [columns] and [constants]."),
]
StrictOption = Annotated[bool, typer.Option("--strict", help="Stop at the first bad row.")]
WaitOption = Annotated[bool, typer.Option("--wait", help="Wait until it is applied, and answers count it.")]
JsonOption = Annotated[bool, typer.Option("--json", help="End with a summary as one JSON object.")]


def _help(what: What, rows: str) -> str:
    message = {What.PRODUCTS: "Product", What.REVIEWS: "Review", What.INTERACTIONS: "Interaction with its kinds"}[what]
    return f"{rows}\n\nFields: {field_names(what)} (docs/api.md, {message})."


class Dates(StrEnum):
    """Which times imported events get."""

    REAL = "real"
    RECENT = "recent"


@publish_app.command("products", help=_help(What.PRODUCTS, "One product per row: a row replaces the whole product."))
def publish_products(
    files: Files,
    format: FormatOption = None,
    columns: MapOption = None,
    constants: SetOption = None,
    mapping: MappingOption = None,
    patch: Annotated[bool, typer.Option("--patch", help="Change only the columns that the file has.")] = False,
    strict: StrictOption = False,
    wait: WaitOption = False,
    as_json: JsonOption = False,
) -> None:
    chosen = read_columns(What.PRODUCTS, mapping, columns or (), constants or ())
    _publish_files(files, format, chosen, patch, strict, wait, as_json)


@publish_app.command("reviews", help=_help(What.REVIEWS, "One review per row."))
def publish_reviews(
    files: Files,
    format: FormatOption = None,
    columns: MapOption = None,
    constants: SetOption = None,
    mapping: MappingOption = None,
    strict: StrictOption = False,
    wait: WaitOption = False,
    as_json: JsonOption = False,
) -> None:
    chosen = read_columns(What.REVIEWS, mapping, columns or (), constants or ())
    _publish_files(files, format, chosen, False, strict, wait, as_json)


@publish_app.command("interactions", help=_help(What.INTERACTIONS, "One interaction per row."))
def publish_interactions(
    files: Files,
    format: FormatOption = None,
    columns: MapOption = None,
    constants: SetOption = None,
    mapping: MappingOption = None,
    strict: StrictOption = False,
    wait: WaitOption = False,
    as_json: JsonOption = False,
) -> None:
    chosen = read_columns(What.INTERACTIONS, mapping, columns or (), constants or ())
    _publish_files(files, format, chosen, False, strict, wait, as_json)


@import_app.callback()
def import_root() -> None:
    """A group, so that each data set is a command of its own."""


@import_app.command("hm", help="H&M's articles and purchases (hm_week5core, hm_full_tables).")
def import_hm(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Holds articles.csv or articles.parquet.")],
    splits: Annotated[str, typer.Option(help="Which purchases, where the data set has splits.")] = "train",
    dates: Annotated[
        Dates, typer.Option(help="recent: moved by whole days, so that the last day is yesterday.")
    ] = Dates.REAL,
    images: Annotated[bool, typer.Option(help="Send the pictures along.")] = True,
    wait: WaitOption = False,
    as_json: JsonOption = False,
) -> None:
    console = Console(stderr=True, highlight=False)
    chosen = tuple(part.strip() for part in splits.split(",") if part.strip())
    shift_us = shift_to_yesterday(directory, chosen, dates)
    if hm.has_splits(directory):
        console.print(f"Purchases of split {', '.join(chosen)} only; --splits chooses others.")
    settings = Settings()
    started = time.monotonic()
    products = publish_all(settings, hm_products(directory, images=images), "products", console)
    purchases = publish_all(settings, hm_interactions(directory, chosen, shift_us), "purchases", console)
    if wait:
        wait_applied(settings, products, purchases, console=console)
    summary = {
        "products": products.published,
        "interactions": purchases.published,
        "rejected": products.rejected + purchases.rejected,
        "splits": list(chosen) if hm.has_splits(directory) else [],
        "seconds": round(time.monotonic() - started, 3),
    }
    _finish(summary, as_json, console)


def shift_to_yesterday(directory: Path, splits: tuple[str, ...], dates: Dates) -> int:
    """Whole days, in microseconds, that bring the newest purchase's day to yesterday; 0 for real dates."""
    if dates is Dates.REAL:
        return 0
    newest = max((purchase.time_us for purchase in hm.read_purchases(directory, splits)), default=0)
    return ((time.time_ns() // 1_000) // DAY_US - 1 - newest // DAY_US) * DAY_US


def publish_all(settings: Settings, sources: Iterable[Source], noun: str, console: Console) -> Summary:
    """Publish events with progress; a bad one is printed and passed over. Raises DependencyDown."""
    return _publish(settings, sources, noun, console, strict=False)


def end_on_sigterm() -> None:
    """Make SIGTERM end this process as Ctrl-C does: what it started is stopped and cleaned up. Main thread only."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler)


def serve_ingest() -> None:
    """Run IngestionService until SIGTERM or SIGINT."""
    from freshet.telemetry import configure_logging, serve_metrics

    settings = Settings()
    configure_logging(settings, "ingest")
    serve_metrics(settings)
    tracing.start(settings, "ingest")
    import uvloop

    uvloop.run(_serve(settings))


async def _serve(settings: Settings) -> None:
    import structlog

    from freshet.ingest.server import running
    from freshet.ingest.service import IngestionService

    log = structlog.get_logger(__name__)
    producer = bootstrap.producer(settings)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    service = IngestionService(producer, record_writer(settings))
    check = partial(ensure_topics, settings.kafka_url, settings.topics, 4.0)
    try:
        async with running(service, settings.ingest, check) as address:
            log.info("ingest.serving", address=address, kafka=settings.kafka_url)
            await stop.wait()
    finally:
        await asyncio.to_thread(producer.close)
        await asyncio.to_thread(tracing.stop)


def record_writer(settings: Settings) -> RecordWriter:
    return RecordWriter(settings.topics, source="freshet/ingest", record_bytes=settings.stream.record_bytes)


def _publish_files(
    files: list[str],
    format: Format | None,
    columns: Columns,
    patch: bool,
    strict: bool,
    wait: bool,
    as_json: bool,
) -> None:
    console = Console(stderr=True, highlight=False)
    settings = Settings()
    formats = [format_of(name, format) for name in files]
    for name in files:
        if name != STANDARD_INPUT and not Path(name).exists():
            raise ConfigurationError(f"{name}: there is no such file")
    unused: dict[str, None] = {}

    def sources() -> Iterator[Source]:
        for name, written in zip(files, formats, strict=True):
            folder = Path(name).parent if name != STANDARD_INPUT else None
            rows = read_rows(name, written)
            for index, read in enumerate(rows):
                if index == 0 and not {"upsert", "patch", "removal"} & read.row.keys():
                    unused.update(dict.fromkeys(columns.unused(read.row)))
                yield from events_of([read], columns, patch=patch, folder=folder)

    started = time.monotonic()
    summary = _publish(settings, sources(), columns.what.value, console, strict=strict)
    if unused:
        console.print(f"Columns not used: {', '.join(unused)}. --map FIELD=COLUMN uses one.", markup=False)
    if wait and summary.last:
        wait_applied(settings, summary, console=console)
    seconds = time.monotonic() - started
    _finish(
        {
            "what": columns.what.value,
            "read": summary.read,
            "published": summary.published,
            "rejected": summary.rejected,
            "seconds": round(seconds, 3),
            "consistency_token": write_token(summary.last.values()),
        },
        as_json,
        console,
    )


def _publish(settings: Settings, sources: Iterable[Source], noun: str, console: Console, *, strict: bool) -> Summary:
    shown = 0

    def rejected(place: str, error: InvalidInput) -> None:
        nonlocal shown
        shown += 1
        if shown <= ERRORS_SHOWN:
            console.print(f"{place}: {error}", markup=False, soft_wrap=True)
        elif shown == ERRORS_SHOWN + 1:
            console.print("… further bad rows are only counted")

    tracing.start(settings, "publish")
    producer = bootstrap.producer(settings, linger_ms=BULK_LINGER_MS)
    ensure_topics(settings.kafka_url, settings.topics, 10.0)
    try:
        with progress_bar(console) as bar:
            task = bar.add_task(noun, total=None, rate="")
            update = _rate_of(bar, task)
            return publish_events(
                sources, producer, record_writer(settings), rejected=rejected, progress=update, strict=strict
            )
    finally:
        producer.close()
        tracing.stop()


def _rate_of(bar: Progress, task: object) -> Callable[[Summary], None]:
    begun = time.monotonic()

    def update(summary: Summary) -> None:
        rate = summary.published / max(time.monotonic() - begun, 1e-3)
        bar.update(task, completed=summary.read, rate=f"{summary.published:,} confirmed, {rate:,.0f}/s")  # type: ignore[arg-type]

    return update


def _finish(summary: dict[str, object], as_json: bool, console: Console) -> None:
    names: Collection[str] = [name for name in summary if name not in ("what", "splits", "consistency_token")]
    console.print(", ".join(f"{name} {summary[name]:,}" for name in names), markup=False)
    if as_json:
        print(json.dumps(summary))
    if summary["rejected"]:
        raise typer.Exit(1)
