"""`freshet demo`: a shop of its own on a stack of its own. May import everything; nothing imports it."""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress

from freshet.demo import run
from freshet.demo.client import ShopClient
from freshet.demo.shop import Shop, open_shop
from freshet.errors import FreshetError
from freshet.ingest.commands import end_on_sigterm
from freshet.representation import manifest
from freshet.settings import Settings

app = typer.Typer(add_completion=False, help="A shop of its own: train, publish, click, and see the answer change.")
SEED = 20261123
TRAINED_FOR = "shop"


@app.command()
def demo(
    once: Annotated[
        bool, typer.Option("--once", help="Stop after the first comparison; leave nothing running.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="End with one JSON object on standard output.")] = False,
    products: Annotated[int, typer.Option(min=100, max=20_000, help="Size of the catalogue.")] = 3_000,
    keep_data: Annotated[
        bool, typer.Option("--keep-data/--fresh", help="Use what an earlier run left, or begin anew.")
    ] = True,
    data_dir: Annotated[Path | None, typer.Option(help="Where the demo lives. Default: .freshet/demo.")] = None,
) -> None:
    """Start the system, fill it with a shop, click, and show the recommendations before and after."""
    from freshet.local.stack import LocalStack

    end_on_sigterm()
    console = Console(stderr=True, highlight=False)
    started = time.monotonic()
    home = (data_dir or Settings().data_dir / "demo").absolute() / str(products)
    if not keep_data and home.exists():
        shutil.rmtree(home)
    shop = _shop(home / "shop", products, console)
    models = home / "models"
    if not _is_trained(shop, models):
        # What runs there was filled by another model, or by none.
        for left in (models, home / "stack"):
            shutil.rmtree(left, ignore_errors=True)
        (home / "published.json").unlink(missing_ok=True)
        _train(shop, models, console)
    overrides = {"model_dir": models / "current", "log_level": "warning"}
    console.print("Starting Kafka, Triton, Milvus, three workers and two services …")
    with LocalStack(home / "stack", overrides, usual_ports=not once) as stack:
        settings = stack.settings
        run.fill(settings, shop, home / "published.json", console)
        try:
            summary = asyncio.run(_show(settings, shop, home / "demo.html", once, started, console))
        except KeyboardInterrupt:
            console.print("\nStopping everything …")
            return
    if as_json:
        print(json.dumps(summary))


def _shop(folder: Path, products: int, console: Console) -> Shop:
    with Progress(console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("drawing the shop", total=products)
        shop = open_shop(
            folder, products, SEED, time.time_ns() // 1_000, lambda count: bar.update(task, completed=count)
        )
    console.print(f"{products:,} products, {shop.reviews:,} reviews, {shop.interactions:,} interactions")
    return shop


def _is_trained(shop: Shop, models: Path) -> bool:
    """Whether there is a model of this shop that this Freshet reads."""
    try:
        return (models / TRAINED_FOR).read_text() == shop.fingerprint and bool(manifest.load(models / "current"))
    except (OSError, FreshetError):
        return False


def _train(shop: Shop, models: Path, console: Console) -> None:
    from freshet.representation.commands import train

    console.print("Training a model on this shop …")
    train(data=shop.folder, hm=None, out=models, backend="python")
    (models / TRAINED_FOR).write_text(shop.fingerprint)


async def _show(
    settings: Settings, shop: Shop, page: Path, once: bool, started: float, console: Console
) -> dict[str, Any]:
    name = str(time.time_ns() // 1_000_000)
    async with ShopClient(settings) as client:
        hits, popular, shoppers = await run.measure_hits(client, shop)
        changed = await run.before_and_after(client, shop, name)
        times = await run.measure_clicks(client, shop, name)
        measured = run.Measured(hits, popular, shoppers, times)
        run.write_page(page, changed, measured)
        console.print(f"{changed.user_id} clicked: {', '.join(shown.title for shown in changed.clicked)}")
        console.print(run.lists_table(changed))
        console.print(
            f"click → answer that counts it: p50 {measured.percentile(50):.1f} ms, "
            f"p99 {measured.percentile(99):.1f} ms ({len(times)} clicks, one after another)\n"
            f"hit rate@10: {hits:.3f}; popularity: {popular:.3f}. Protocol: {shoppers:,} shoppers; a hit is at least "
            "one of five choices held out, drawn from the same taste and never published; products known to the "
            "shopper are left out of both lists\n"
            f"page: {page}"
        )
        if not once:
            _addresses(settings, console)
            await run.keep_clicking(client, shop, console)
    return {
        "products": len(shop.products),
        "interactions": shop.interactions,
        "hit_rate_at_10": round(hits, 4),
        "popularity_hit_rate_at_10": round(popular, 4),
        "shoppers": shoppers,
        "answer_changed": changed.answer_changed,
        "click_to_answer_ms": {
            "p50": round(measured.percentile(50), 3),
            "p99": round(measured.percentile(99), 3),
        },
        "page": str(page),
        "seconds": round(time.monotonic() - started, 3),
    }


def _addresses(settings: Settings, console: Console) -> None:
    console.print("\nRunning until Ctrl-C:", style="bold")
    for name, address in (
        (
            "Console (web page)",
            f"http://{settings.console.host}:{settings.console.port}/#token={settings.console.token}",
        ),
        ("Recommend (gRPC)", f"{settings.recommend.host}:{settings.recommend.port}"),
        ("Ingest (gRPC)", f"{settings.ingest.host}:{settings.ingest.port}"),
        ("Kafka", settings.kafka_url),
        ("Triton", settings.encoder_url),
        ("Milvus", settings.index_url),
        ("Database", settings.database_url),
    ):
        console.print(f"  {name:18s} {address}", markup=False)
