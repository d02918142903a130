"""`freshet inspect`. May import `bootstrap`, settings and this room."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from freshet import bootstrap
from freshet.domain import products
from freshet.domain.products import Product
from freshet.errors import ConfigurationError
from freshet.inspect import duplicates as near_identical
from freshet.inspect.duplicates import PICTURE_LEAST, WORDS_LEAST, Alike, Thresholds
from freshet.inspect.page import moment, render
from freshet.inspect.pictures import thumbnails
from freshet.inspect.prices import OUT_OF_LINE, price_line, strange
from freshet.inspect.product import Inspection, inspect
from freshet.inspect.scan import Neighbour
from freshet.ports import CatalogStore
from freshet.representation.manifest import Manifest
from freshet.representation.pricing import LEAST_PRICED, Expected
from freshet.settings import Settings

app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="What is known of a product, and what the model makes of it."
)
Words = Annotated[float, typer.Option("--words", min=0.5, max=1.0, help="Least cosine of near-identical words.")]
Picture = Annotated[float, typer.Option("--picture", min=0.5, max=1.0, help="Least cosine of their pictures.")]


@app.command("product")
def product(
    product_id: Annotated[str, typer.Argument(metavar="ID", help="The product's product_id.")],
    html: Annotated[Path | None, typer.Option(help="Write a page with pictures to this file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Everything as JSON.")] = False,
    words: Words = WORDS_LEAST,
    picture: Picture = PICTURE_LEAST,
) -> None:
    """One product: its facts, its neighbours, its duplicates.

    Also what changed last, what is near by each modality, and where modalities disagree.
    """
    settings = Settings()
    manifest = bootstrap.model_manifest(settings)
    with closing(bootstrap.catalog_store(settings, manifest.model_version)) as store:
        found = asyncio.run(_inspected(settings, store, manifest, product_id, Thresholds(words, picture)))
        known = _products(store, found)
    if html is not None:
        pictures = asyncio.run(_pictures(settings, {product_id: found.product, **known}))
        try:
            html.write_text(render(found, known, pictures), encoding="utf-8")
        except OSError as error:
            raise ConfigurationError(f"--html {html} cannot be written: {error.strerror}") from error
    if as_json:
        print(json.dumps(as_document(found, known), indent=2))
    elif html is not None:
        print(f"{html} shows {product_id}")
    else:
        _print(found, known)


@app.command("duplicates")
def duplicates(
    as_json: Annotated[bool, typer.Option("--json", help="Pairs and groups as JSON.")] = False,
    words: Words = WORDS_LEAST,
    picture: Picture = PICTURE_LEAST,
    most: Annotated[int, typer.Option(min=1, help="Stop after so many pairs.")] = 100_000,
) -> None:
    """Near-identical products of the whole catalogue.

    By their words, and by their pictures where both have one.
    """
    settings = Settings()
    manifest = bootstrap.model_manifest(settings)
    console = Console(stderr=True, highlight=False)
    pairs: list[Alike] = []
    complete = True
    with (
        closing(bootstrap.catalog_store(settings, manifest.model_version)) as store,
        Progress(console=console, disable=not console.is_terminal) as bar,
    ):
        task = bar.add_task("comparing", total=1.0)
        for pair in near_identical.pairs(
            store, manifest.layout, Thresholds(words, picture), lambda share: bar.update(task, completed=share)
        ):
            if len(pairs) == most:
                complete = False
                break
            pairs.append(pair)
    groups = near_identical.groups(pairs)
    if as_json:
        written = [
            {"products": [pair.first, pair.second], "words": round(pair.words, 4), "picture": _rounded(pair.picture)}
            for pair in pairs
        ]
        document = {"model_version": manifest.model_version, "pairs": written, "groups": groups, "complete": complete}
        print(json.dumps(document, indent=2))
        return
    if not pairs:
        console.print("No near-identical products.")
        return
    table = Table(title=f"{len(pairs):,} pairs in {len(groups):,} groups", title_justify="left")
    table.add_column("products")
    table.add_column("", justify="right")
    for group in groups[:50]:
        table.add_row(Text(", ".join(group[:6]) + (" …" if len(group) > 6 else "")), f"{len(group)}")
    Console(highlight=False).print(table)
    if not complete:
        console.print(f"Stopped after {most:,} pairs; --most or stricter thresholds tell more", style="yellow")


@app.command("prices")
def prices(
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    least: Annotated[
        float, typer.Option("--spreads", min=1.0, help="Least distance, in spreads of what is expected.")
    ] = OUT_OF_LINE,
) -> None:
    """Prices out of line, the strangest first.

    Of the whole catalogue, judged by what words and pictures let expect.
    """
    settings = Settings()
    manifest = bootstrap.model_manifest(settings)
    head = manifest.price_head()
    if head is None:
        raise ConfigurationError(
            f"the model {manifest.model_version} cannot tell: it was trained with fewer than {LEAST_PRICED} prices, or "
            "before there were expected prices; train it again"
        )
    with closing(bootstrap.catalog_store(settings, manifest.model_version)) as store:
        found = sorted(strange(store, head, least), key=lambda each: -abs(each.expected.spreads))
    if as_json:
        written = [
            {"product_id": each.product.product_id, "title": each.product.title, "price": each.product.price}
            | {"currency": each.product.currency, **(_price(each.expected) or {})}
            for each in found
        ]
        document = {"model_version": manifest.model_version, "error": round(head.error, 4), "products": written}
        print(json.dumps(document, indent=2))
        return
    table = Table(
        title=f"{len(found):,} prices out of line (half of all prices are expected to within {head.error:.0%})",
        title_justify="left",
    )
    for heading in ("product", "title", "price", "expected", "times"):
        table.add_column(heading, justify="left" if heading in ("product", "title") else "right")
    for each in found[:50]:
        table.add_row(
            Text(each.product.product_id),
            Text(each.product.title[:50]),
            f"{each.product.price:,.2f}",
            f"{each.expected.low:,.2f} to {each.expected.high:,.2f}",
            f"{each.expected.factor:,.2f}",
        )
    Console(highlight=False).print(table)


def as_document(found: Inspection, known: Mapping[str, Product]) -> dict[str, Any]:
    """An inspection as plain values for JSON; `known` has the facts of the neighbours."""

    def near(each: Neighbour) -> dict[str, Any]:
        title = known[each.product_id].title if each.product_id in known else ""
        return {"product_id": each.product_id, "title": title, "cosine": round(each.cosine, 4)}

    about, source = found.product, found.source
    return {
        "product_id": about.product_id,
        "product_number": found.number,
        "title": about.title,
        "live": found.live,
        "available": about.available,
        "review_stars": list(found.review_stars),
        "event_time": moment(found.event_time_us),
        "source": {"topic": source.topic, "partition": source.partition, "offset": source.offset} if source else None,
        "fields": [
            {
                "name": field.name,
                "value": field.value,
                "event_time": moment(field.version.event_time_us),
                "offset": field.version.offset,
                "newest": field.newest,
            }
            for field in found.fields
        ],
        "model_version": found.model_version,
        "modalities": [
            {
                "name": part.modality.value,
                "length": round(part.length, 4),
                "joint_without": _rounded(part.joint_without),
                "neighbours": [near(each) for each in part.neighbours],
            }
            for part in found.parts
        ],
        "disagreements": [
            {"modalities": [one.value, other.value], "share": round(share, 2)}
            for (one, other), share in found.disagreements.items()
        ],
        "duplicates": [near(each) for each in found.duplicates],
        "other_versions": [
            {"model_version": other.model_version, "inputs_differ": list(other.inputs_differ)}
            for other in found.other_versions
        ],
        "price": _price(found.price),
        "missing": list(found.missing),
    }


async def _inspected(
    settings: Settings, store: CatalogStore, manifest: Manifest, product_id: str, thresholds: Thresholds
) -> Inspection:
    encoders = bootstrap.encoders(settings)
    try:
        return await inspect(store, manifest.layout, encoders, product_id, thresholds, manifest.price_head())
    finally:
        await encoders.close()


def _products(store: CatalogStore, found: Inspection) -> dict[str, Product]:
    ids = {each.product_id for part in found.parts for each in part.neighbours}
    ids |= {each.product_id for each in found.duplicates}
    return {product_id: products.product(row.state) for product_id, row in store.load(sorted(ids)).items()}


async def _pictures(settings: Settings, known: Mapping[str, Product]) -> dict[str, str]:
    loader = bootstrap.image_loader(settings)
    try:
        images = {name: each.image for name, each in known.items() if each.image is not None}
        return await thumbnails(loader, images)
    finally:
        await loader.close()


def _print(found: Inspection, known: Mapping[str, Product]) -> None:
    console = Console(highlight=False)
    console.print(f"{found.product.title or found.product.product_id}  ({found.product.product_id})", markup=False)
    if found.price is not None:
        console.print(f"{found.product.price:,.2f} {found.product.currency}: {price_line(found.price)}", markup=False)
    changed = Table(title="What changed last", title_justify="left")
    for heading in ("field", "value", "since"):
        changed.add_column(heading)
    for field in found.fields:
        name = ("* " if field.newest else "  ") + field.name
        changed.add_row(name, Text(field.value[:80]), moment(field.version.event_time_us))
    console.print(changed)
    near = Table(title="What is near", title_justify="left")
    for heading in ("by", "length", "joint without it", "nearest"):
        near.add_column(heading)
    for part in found.parts:
        listed = "\n".join(
            f"{each.cosine:.3f} {(known[each.product_id].title if each.product_id in known else '') or each.product_id}"
            for each in part.neighbours
        )
        without = "" if part.joint_without is None else f"{part.joint_without:.3f}"
        near.add_row(part.modality.value, f"{part.length:.2f}" if part.length else "absent", without, Text(listed))
    console.print(near)
    for (one, other), share in sorted(found.disagreements.items(), key=lambda item: -item[1])[:3]:
        console.print(f"{one.value} and {other.value}: {share:.0%} of the ten nearest differ")
    for each in found.duplicates:
        console.print(f"Near-identical: {each.product_id} ({each.cosine:.3f})", style="yellow", markup=False)
    for line in found.missing:
        console.print(line, style="yellow", markup=False)


def _price(expected: Expected | None) -> dict[str, float] | None:
    if expected is None:
        return None
    told = {"expected": expected.price, "low": expected.low, "high": expected.high, "factor": expected.factor}
    return {name: float(f"{value:.6g}") for name, value in told.items()} | {"spreads": round(expected.spreads, 2)}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
