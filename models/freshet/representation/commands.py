"""`freshet train`. Imports torch only once training begins."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from freshet.errors import ConfigurationError

app = typer.Typer(help="Train the model and write its Triton repository.")

RANKING: dict[str, float] = {
    "text": 1.0,
    "image": 0.3,
    "price": 0.05,
    "reviews": 0.05,
    "joint": 0.5,
    "behaviour": 10.0,
    "trending": 0.02,
}
"""Chosen on the validation split of H&M's week (protocol P1)."""


@app.command()
def train(
    data: Annotated[
        Path | None, typer.Option(help="Folder with products.jsonl, and interactions and reviews where there are any.")
    ] = None,
    hm: Annotated[Path | None, typer.Option(help="Folder in the H&M layout; its training split is used.")] = None,
    out: Annotated[Path, typer.Option(help="Where models are kept; `current` points at the newest.")] = Path(
        ".freshet/models"
    ),
    seconds: Annotated[float, typer.Option(help="Bound on the training time.", min=1.0)] = 100.0,
    seed: Annotated[int, typer.Option(help="The same data, seed and machine give the same model.")] = 0,
    backend: Annotated[
        str,
        typer.Option(help="Triton backend: python (onnxruntime inside it), or onnxruntime for NGC images and GPUs."),
    ] = "python",
) -> None:
    """Train encoders and fusion, export them to ONNX, and write the model repository that Triton serves."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    if (data is None) == (hm is None):
        raise ConfigurationError("name the training data: either --data FOLDER or --hm FOLDER")
    if backend not in ("python", "onnxruntime"):
        raise ConfigurationError(f"backend is {backend!r}; python or onnxruntime is needed")
    from freshet.representation.data import read_folder, read_hm
    from freshet.representation.export import export
    from freshet.representation.train import TrainingOptions
    from freshet.representation.train import train as train_model

    console = Console(stderr=True)
    read = read_folder(data) if data is not None else read_hm(hm or Path())
    options = TrainingOptions(seed=seed, seconds=seconds)
    console.print(f"{len(read.products):,} products, {len(read.items):,} interactions, {len(read.reviews):,} reviews")
    columns = (
        TextColumn("{task.description:>10}"),
        BarColumn(),
        TextColumn("{task.percentage:3.0f}%"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("text", total=1.0)
        trained = train_model(
            read, options, lambda stage, share: progress.update(bar, description=stage, completed=share)
        )
        progress.update(bar, description="export")
        manifest = export(trained, read, options, out, RANKING, {"loss": trained.losses[-1]}, backend)
    console.print(f"model {manifest.model_version} is in {out / manifest.model_version}")
