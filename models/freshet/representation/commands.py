"""`freshet train`. Imports torch only once training begins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from freshet.errors import ConfigurationError

if TYPE_CHECKING:
    from freshet.representation.evaluation import Held, Quality
    from freshet.representation.options import TrainingOptions
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
}
"""Chosen on the validation split of H&M's week (docs/decisions/0010)."""
CHOICES = {
    "behaviour": (50.0, 200.0, 400.0),
    "joint": (0.0, 0.3),
    "image": (0.0, 0.15),
    "price": (0.05,),
    "reviews": (0.05,),
    "terms": (0.3,),
    "trending": (0.02, 0.1),
}
CATALOGUE_CHOICES = {
    "behaviour": (10.0, 30.0, 300.0),
    "trending": (0.1, 0.2),
    "joint": (0.5, 1.0),
    "text": (0.2,),
    "image": (0.3,),
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
    seconds: Annotated[float, typer.Option(help="Bound on the training time.", min=1.0)] = 100.0,
    seed: Annotated[int, typer.Option(help="The same data, seed and machine give the same model.")] = 0,
    tune: Annotated[
        bool, typer.Option(help="With --hm: search the default ranking weights on the validation split (minutes).")
    ] = False,
    image: Annotated[
        str,
        typer.Option(
            metavar="ENCODER",
            help="Picture encoder: cnn, vit; frozen:PATH or tuned:PATH for a file of ResNet or ViT weights.",
        ),
    ] = "cnn",
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
    from freshet.representation.data import held_out_hm, held_out_last, read_folder, read_hm, without_targets
    from freshet.representation.export import export
    from freshet.representation.options import TrainingOptions
    from freshet.representation.train import train as train_model

    console = Console(stderr=True)
    held: Held | None
    if hm is not None:
        # Its training split has no target in it.
        read = read_hm(hm)
        held = held_out_hm(hm, read)
    else:
        read = read_folder(data or Path())
        held = held_out_last(read)
        read = without_targets(read, held) if held is not None else read
    options = TrainingOptions(seed=seed, seconds=seconds, image=image)
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
        ranking, metrics = dict(RANKING), {"loss": trained.losses[-1]}
        if held is not None:
            progress.update(bar, description="judging")
            choices = (CHOICES if tune else {}) if hm is not None else CATALOGUE_CHOICES
            ranking, found = _judge(trained, options, held, choices)
            metrics |= {"valid_hit_rate_10": found.hit_rate, "valid_ndcg_10": found.ndcg}
        progress.update(bar, description="export")
        manifest = export(trained, read, options, out, ranking, metrics, backend)
    console.print(f"model {manifest.model_version} is in {out / manifest.model_version}")


def _judge(
    trained: Trained, options: TrainingOptions, held: Held, choices: Mapping[str, Sequence[float]]
) -> tuple[dict[str, float], Quality]:
    """The ranking weights, and what they reach on held-out purchases."""
    from freshet.domain.affinity import AffinityRules
    from freshet.domain.representations import Layout, Modality, Segment
    from freshet.domain.scoring import ranking_weights
    from freshet.representation import evaluation

    layout = Layout("trained", tuple(Segment(name, getattr(options.sizes, name.value)) for name in Modality))
    catalogue = evaluation.known(layout, trained.vectors(), held.users, held.items, AffinityRules())
    judged = held.sample(JUDGED, options.seed)

    def judge(values: Mapping[str, float]) -> Quality:
        return evaluation.quality(catalogue, ranking_weights(values), judged)

    return evaluation.search(judge, RANKING, choices)
