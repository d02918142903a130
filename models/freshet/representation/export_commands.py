"""The command `freshet export`: a trained model served otherwise."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from freshet.errors import ConfigurationError
from freshet.representation.manifest import Weights

app = typer.Typer(add_completion=False, help="Write a trained model anew: smaller weights, another backend.")


@app.command()
def export(
    model: Annotated[Path, typer.Argument(help="A model's folder, as `freshet train` wrote it.")],
    out: Annotated[Path, typer.Option(help="Where models are kept; `current` points at the newest.")] = Path(
        ".freshet/models"
    ),
    weights: Annotated[
        Weights | None,
        typer.Option(
            help="int8: matrices of large networks rounded to 8 bits, a text encoder twice as fast. Its vectors "
            "differ, so it is a version of its own. [default: the model's]"
        ),
    ] = None,
    backend: Annotated[
        str | None,
        typer.Option(
            help="Triton backend: python (onnxruntime inside it), onnxruntime for NGC images and GPUs, or tensorrt for "
            "that one with its accelerator. [default: the model's]"
        ),
    ] = None,
    instances: Annotated[
        int | None, typer.Option(min=1, help="With --backend: instances of each model on each device. [default: 1]")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Write a trained model anew for serving: with smaller weights, or for another backend of Triton."""
    from freshet.representation.variants import variant

    if instances is not None and backend is None:
        raise ConfigurationError("--instances goes with --backend: name the one that the model is to be served by")
    written = variant(model, out, weights, backend, instances or 1)
    if as_json:
        told = {"model_version": written.model_version, "weights": written.weights, "folder": str(written.folder)}
        print(json.dumps(told))
    else:
        print(f"model {written.model_version}, weights in {written.weights}, is in {out / written.model_version}")
