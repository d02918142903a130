"""`freshet train`. Imports torch only once training begins."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from freshet.errors import ConfigurationError
from freshet.representation.options import TrainingOptions, read_options, training_options
from freshet.representation.repository import check_backend

if TYPE_CHECKING:
    from freshet.representation.data import TrainingData
    from freshet.representation.evaluation import Held, Quality
    from freshet.representation.train import Trained

app = typer.Typer(add_completion=False, help="Train the model and write its Triton repository.")

RANKING: dict[str, float] = {
    "text": 1.0,
    "image": 0.05,
    "price": 0.0,
    "reviews": 0.0,
    "joint": 0.1,
    "terms": 0.0,
    "behaviour": 100.0,
    "trending": 0.0,
    "untried": 3.0,
    "untried_affinity": 3.0,
    "sharpness": 0.3,
    "recency": 1.0,
}
"""Chosen on the validation split of H&M's week (docs/decisions/0010, 0011, 0024, 0026)."""
CHOICES = {
    "behaviour": (50.0, 200.0, 400.0),
    "joint": (0.0, 0.3),
    "image": (0.0, 0.15),
    "price": (0.05,),
    "reviews": (0.05,),
    "terms": (0.3,),
    "trending": (0.02, 0.1),
}
CATALOGUE: dict[str, float] = {**RANKING, "untried": 1.0, "untried_affinity": 1.0, "sharpness": 0.0}
"""What the search on any other catalogue begins with: what a new product is worth there, how much one loud product
counts more than many, and the last touched more than those before, is for its data to say."""
CATALOGUE_CHOICES = {
    "behaviour": (10.0, 30.0, 300.0),
    "sharpness": (0.3,),
    "recency": (0.8, 0.6),
    "trending": (0.1, 0.2),
    "joint": (0.5, 1.0),
    "text": (0.2,),
    "image": (0.3,),
    "untried_affinity": (2.0,),
    "untried": (2.0, 4.0),
}
"""How far to trust what others did depends on how much of it there is: looked for on every catalogue's own choices."""
JUDGED = 1_000
"""Shoppers by whom a ranking is judged while training."""


@app.command()
def train(
    data: Annotated[
        Path | None, typer.Option(help="Folder with products.jsonl, and interactions and reviews where there are any.")
    ] = None,
    hm: Annotated[Path | None, typer.Option(help="Folder in the H&M layout; its training split is used.")] = None,
    out: Annotated[Path, typer.Option(help="Where models are kept; `current` points at the newest.")] = Path(
        ".freshet/models"
    ),
    config: Annotated[
        Path | None, typer.Option(help="JSON or TOML with options of training (docs/training.md); flags go first.")
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(help="Training ends with the epoch in which so many have passed. [default: 600]")
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over samples of pairs. [default: 6]")] = None,
    seed: Annotated[int | None, typer.Option(help="Same data, options, seed and machine: same model. [0]")] = None,
    fusion: Annotated[str | None, typer.Option(help="How modalities become one vector. [default: gated]")] = None,
    text: Annotated[
        str | None,
        typer.Option(
            metavar="ENCODER",
            help="Of texts: words; minilm adds a pretrained sentence encoder, minilm:FOLDER from other files. [words]",
        ),
    ] = None,
    image: Annotated[
        str | None,
        typer.Option(
            metavar="ENCODER",
            help="Of pictures: cnn, vit; frozen:PATH or tuned:PATH for a file of ResNet or ViT weights. [default: cnn]",
        ),
    ] = None,
    loss: Annotated[
        list[str] | None, typer.Option(metavar="NAME=WEIGHT", help="Minimise a weighted sum of these; repeat it.")
    ] = None,
    begin_from: Annotated[
        Path | None, typer.Option("--from", help="A model's folder: begin with what its networks have learned.")
    ] = None,
    run: Annotated[
        Path | None, typer.Option(help="The run's folder; one begun there goes on. Default: a new one beside --out.")
    ] = None,
    tune: Annotated[
        bool, typer.Option(help="With --hm: search the default ranking weights on the validation split (minutes).")
    ] = False,
    backend: Annotated[
        str,
        typer.Option(help="Triton backend: python (onnxruntime inside it); for GPUs onnxruntime, or tensorrt."),
    ] = "python",
) -> None:
    """Train encoders and fusion, export them to ONNX, and write the model repository that Triton serves."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    check_backend(backend)
    from freshet.representation.export import export
    from freshet.representation.networks import check_names
    from freshet.representation.runs import Run
    from freshet.representation.start import read_start
    from freshet.representation.train import train as train_model

    kept = Run(run or out.parent / "runs" / f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{os.getpid()}")
    before = kept.config() if kept.begun else {}
    named = {"data": data, "hm": hm, "from": begin_from}
    places = {name: str(path.absolute()) if path else before.get(name) for name, path in named.items()}
    flags: dict[str, object] = {
        "seconds": seconds,
        "epochs": epochs,
        "seed": seed,
        "fusion": fusion,
        "text": text,
        "image": image,
    }
    given = {name: value for name, value in flags.items() if value is not None}
    if loss:
        given["losses"] = _weighed(loss)
    options = training_options(
        {**before.get("options", {}), **(read_options(config) if config else {}), **given},
        str(config) if config else "the options of training",
    )
    check_names(options)
    if (places["data"] is None) == (places["hm"] is None):
        raise ConfigurationError("name the training data: either --data FOLDER or --hm FOLDER")
    read, held = _read(places["data"], places["hm"])
    start = read_start(Path(places["from"])) if places["from"] else None
    kept.begin({**places, "options": options.model_dump(mode="json"), "fingerprint": read.fingerprint()})
    console = Console(stderr=True)
    console.print(f"{len(read.products):,} products, {len(read.items):,} interactions, {len(read.reviews):,} reviews")
    columns = (
        TextColumn("{task.description:>10}"),
        BarColumn(),
        TextColumn("{task.percentage:3.0f}%"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("text", total=1.0)

        def advanced(stage: str, share: float) -> None:
            progress.update(bar, description=stage, completed=share)

        trained = train_model(read, options, advanced, kept, start)
        for line in trained.anew:
            progress.console.print(line)
        metrics = {"loss": trained.losses[-1]} if trained.losses else {}
        ranking = RANKING if places["hm"] is not None else CATALOGUE
        if held is not None:
            progress.update(bar, description="judging")
            choices = (CHOICES if tune else {}) if places["hm"] is not None else CATALOGUE_CHOICES
            ranking, found = weigh_trained(trained, options, held, ranking, choices)
            metrics |= {"valid_hit_rate_10": found.hit_rate, "valid_ndcg_10": found.ndcg}
        progress.update(bar, description="export")
        manifest = export(trained, read, options, out, ranking, metrics, backend)
        kept.finish({"model_version": manifest.model_version, "epochs": len(trained.history), **metrics})
    console.print(f"model {manifest.model_version} is in {out / manifest.model_version}; its run in {kept.folder}")


def _weighed(losses: Sequence[str]) -> dict[str, float]:
    """From NAME=WEIGHT. Raises ConfigurationError."""
    found = {}
    for each in losses:
        name, _, weight = each.partition("=")
        try:
            found[name] = float(weight)
        except ValueError:
            raise ConfigurationError(f"--loss {each}: NAME=WEIGHT is needed, as in chosen_together=1") from None
    return found


def _read(data: str | None, hm: str | None) -> tuple[TrainingData, Held | None]:
    """What to train on, without what the ranking is weighed by."""
    from freshet.representation.data import held_out_hm, held_out_last, read_folder, read_hm, without_targets

    if hm is not None:
        # Its training split has no target in it.
        read = read_hm(Path(hm))
        return read, held_out_hm(Path(hm), read)
    read = read_folder(Path(data or ""))
    held = held_out_last(read)
    return (without_targets(read, held), held) if held is not None else (read, None)


def weigh_trained(
    trained: Trained,
    options: TrainingOptions,
    held: Held,
    ranking: Mapping[str, float],
    choices: Mapping[str, Sequence[float]],
) -> tuple[dict[str, float], Quality]:
    """The best ranking weights of `choices`, beginning with `ranking`, and what they reach on held-out purchases."""
    from freshet.representation.evaluation import weigh

    layout = options.sizes.layout("trained")
    return weigh(layout, trained.vectors(), held.sample(JUDGED, options.seed), ranking, choices)
