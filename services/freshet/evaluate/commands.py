"""`freshet evaluate`: quality, measured where shoppers would feel it. May import everything; nothing imports it."""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from typer.core import TyperGroup

from freshet.errors import ConfigurationError
from freshet.evaluate.held_out import HeldOut, read_held_out
from freshet.evaluate.live import ask_all, baselines, live_quality
from freshet.evaluate.metrics import Quality
from freshet.evaluate.suites import SUITES as RANKING_SUITES
from freshet.evaluate.suites import Report, Row, Suite
from freshet.ingest.commands import Dates, end_on_sigterm, publish_all, shift_to_yesterday
from freshet.ingest.sources import hm_interactions, hm_products
from freshet.ingest.waiting import wait_applied


class _Ways(TyperGroup):
    """The ways of measuring by name; a folder in a name's place is a shop's own."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            if not Path(args[0]).is_dir():
                ways = ", ".join(self.commands)
                raise ConfigurationError(f"{args[0]}: there is no such folder, and no such way of measuring ({ways})")
            args = ["shop", *args]
        return super().resolve_command(ctx, args)


app = typer.Typer(cls=_Ways, add_completion=False, no_args_is_help=True, help="Measure the quality of recommendations.")
DATASETS = Path("../shared/data")
PROTOCOL = (
    "P1: model and profiles from train alone; train and valid left out of every ranking; one test purchase a user; "
    "full ranking; ties count against"
)


def _search(directory: Path, report: Report) -> list[Row]:
    # Loads torch, for it trains first.
    from freshet.evaluate.searching import run

    return run(directory, report)


SUITES = {
    **RANKING_SUITES,
    "search": Suite(
        "Whether words and pictures find their product.",
        "hm_week5core",
        "two or three words of a product's title or whole text, or its picture cut and compressed, find it among all; "
        "every third product; trained on train; ties count against",
        (),
        _search,
    ),
}


@app.callback()
def root() -> None:
    """A group, so that each way of measuring is a command of its own."""


@app.command("live", help="What a running system answers to H&M's held-out users.")
def live(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The data set, with its splits.")],
    target: Annotated[str, typer.Option(metavar="HOST:PORT", help="A running Recommend where train is imported.")] = "",
    model: Annotated[Path | None, typer.Option(help="A trained model's folder; default: train on DIR first.")] = None,
    users: Annotated[int, typer.Option(min=0, help="Only the first so many users; 0 means all.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="End with one JSON object.")] = False,
) -> None:
    end_on_sigterm()
    console = Console(stderr=True, highlight=False)
    started = time.monotonic()
    data = read_held_out(directory)
    chosen = range(users or len(data.users))[: len(data.users)]
    console.print(f"{len(data.users):,} users, {len(data.items):,} products. {PROTOCOL}")
    if target:
        ours, degraded = _ask(target, data, chosen, console)
    else:
        with _filled_stack(directory, model, console) as address:
            ours, degraded = _ask(address, data, chosen, console)
    found = baselines(data, len(chosen))
    table = Table(title="Held-out purchases", title_justify="left")
    for heading in ("", "HR@10", "NDCG@10"):
        table.add_column(heading, justify="right" if heading else "left")
    for name, quality in {**found, "live": ours}.items():
        table.add_row(name, f"{quality.hr_at_10:.4f}", f"{quality.ndcg_at_10:.4f}")
    console.print(table)
    if as_json:
        print(
            json.dumps(
                {
                    "hr_at_10": round(ours.hr_at_10, 5),
                    "ndcg_at_10": round(ours.ndcg_at_10, 5),
                    "users": len(chosen),
                    "degraded_answers": degraded,
                    "baselines": {
                        name: {"hr_at_10": round(q.hr_at_10, 5), "ndcg_at_10": round(q.ndcg_at_10, 5)}
                        for name, q in found.items()
                    },
                    "protocol": PROTOCOL,
                    "seconds": round(time.monotonic() - started, 3),
                }
            )
        )


Seeds = Annotated[
    int, typer.Option(min=0, help="Where networks are trained at random: over so many seeds; 0 leaves them out.")
]
AsJson = Annotated[bool, typer.Option("--json", help="End with one JSON object.")]


def _suite_command(name: str) -> None:
    """Add `freshet evaluate NAME`."""
    suite = SUITES[name]

    @app.command(name, help=f"{suite.question}\n\nData set {suite.folder}; {suite.protocol}.")
    def run(
        data: Annotated[
            Path, typer.Option(envvar="FRESHET_DATASETS", help="The folder that holds the data sets.")
        ] = DATASETS,
        seeds: Seeds = 3,
        as_json: AsJson = False,
    ) -> None:
        directory = data / suite.folder
        if not directory.is_dir():
            raise ConfigurationError(f"{directory} is not there; name the folder of data sets with --data")
        _judge(name, suite.protocol, suite.published, lambda report: suite.rows(directory, report, seeds), as_json)


@app.command(
    "shop",
    help="Your own data: `freshet evaluate DIR` does the same.\n\nDIR is a folder as `freshet train --data` reads it.",
)
def shop(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Holds products.jsonl and interactions.")],
    seeds: Seeds = 3,
    as_json: AsJson = False,
) -> None:
    # Loads torch, for it trains.
    from freshet.evaluate import shop as own

    if not directory.is_dir():
        raise ConfigurationError(f"{directory} is not there; name a folder with products.jsonl (docs/training.md)")
    _judge(
        str(directory),
        own.PROTOCOL,
        (),
        lambda report: [Row(model, metrics) for model, metrics in own.run(directory, report, seeds)],
        as_json,
    )


def _judge(
    name: str, protocol: str, published: Sequence[Row], rows_of: Callable[[Report], list[Row]], as_json: bool
) -> None:
    """Compute the rows, show them beside published ones, and end with one JSON object where that is wanted."""
    console = Console(stderr=True, highlight=False)
    started = time.monotonic()
    with console.status("reading") as status:
        rows = rows_of(status.update)
    metrics = list(rows[0].metrics)
    table = Table(title=f"{name}: {protocol}", title_justify="left")
    for heading in ("", *metrics):
        table.add_column(heading, justify="right" if heading else "left")
    for row in (*published, *rows):
        table.add_row(row.model, *(_shown(row.metrics, metric) for metric in metrics))
    console.print(table)
    if as_json:
        document = {"suite": name, "protocol": protocol, "rows": _written(rows), "published": _written(published)}
        print(json.dumps({**document, "seconds": round(time.monotonic() - started, 3)}))


def _written(rows: Sequence[Row]) -> list[dict[str, object]]:
    return [{"model": row.model, "metrics": row.metrics} for row in rows]


def _shown(metrics: Mapping[str, float], metric: str) -> str:
    """The mean, and the standard deviation over seeds where there are some."""
    spread = metrics.get(f"{metric}_sd")
    return f"{metrics[metric]:.4f}" + (f" ± {spread:.4f}" if spread is not None else "")


for _name in SUITES:
    _suite_command(_name)


def _ask(target: str, data: HeldOut, users: range, console: Console) -> tuple[Quality, int]:
    with Progress(console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("asking for every user", total=len(users))
        lists, degraded = asyncio.run(ask_all(target, data, users, lambda: bar.advance(task)))
    return live_quality(lists, data, users), degraded


@contextmanager
def _filled_stack(directory: Path, model: Path | None, console: Console) -> Iterator[str]:
    """A stack of its own with the train split applied, gone afterwards; yields the address of Recommend."""
    from freshet.local.stack import LocalStack

    with tempfile.TemporaryDirectory(prefix="freshet-evaluate-") as folder:
        home = Path(folder)
        if model is None:
            from freshet.representation.commands import train

            console.print("Training on the train split …")
            train(data=None, hm=directory, out=home / "models", backend="python")
            model = home / "models" / "current"
        elif not (model / "model.json").is_file():
            raise ConfigurationError(f"{model} holds no model.json; name the folder that `freshet train` wrote")
        overrides = {"model_dir": model.absolute(), "log_level": "warning"}
        console.print("Starting a stack for this run …")
        with LocalStack(home / "stack", overrides, usual_ports=False) as stack:
            settings = stack.settings
            # Weights decay with age: purchases of years ago would all weigh nothing. Moved by whole days, their
            # order and distances stay.
            shift_us = shift_to_yesterday(directory, ("train",), Dates.RECENT)
            products = publish_all(settings, hm_products(directory), "products", console)
            purchases = publish_all(settings, hm_interactions(directory, ("train",), shift_us), "purchases", console)
            wait_applied(settings, products, purchases, console=console)
            yield f"{settings.recommend.host}:{settings.recommend.port}"
