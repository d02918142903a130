"""From trained networks to a folder that Triton serves: ONNX files, configurations, golden vectors, and model.json."""

from __future__ import annotations

import gc
import hashlib
import logging
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from freshet.domain.representations import Modality
from freshet.errors import ConfigurationError
from freshet.representation import manifest as card
from freshet.representation import pricing, repository
from freshet.representation.data import TrainingData
from freshet.representation.encoders.caption import CaptionEncoder
from freshet.representation.opinions import opinion_inputs
from freshet.representation.options import Sizes, TrainingOptions
from freshet.representation.preprocessing import INPUT_SIZES, TOKENIZER
from freshet.representation.repository import MOST_ROWS
from freshet.representation.start import WEIGHTS
from freshet.representation.train import Trained

OPSET = 18
GOLDEN_ROWS = 4
GOLDEN_REVIEWS = (
    "Fits well, and I love the colour.",
    "Not worth the money, it broke after two days.",
    "It is a coat.",
    "",
)
_TRITON_TYPES = {"float32": "TYPE_FP32", "int32": "TYPE_INT32", "uint8": "TYPE_UINT8"}


@dataclass(frozen=True)
class Served:
    """One model of the repository: its module, its inputs by name, and its output's name."""

    name: str
    module: nn.Module
    inputs: Mapping[str, Tensor]
    output: str


def served_models(trained: Trained, sizes: Sizes) -> list[Served]:
    """The seven models, with a few products of the training data, and made-up reviews, as example inputs."""
    inputs = trained.inputs
    richest = inputs.present.sum(dim=1).argsort(descending=True, stable=True)[:GOLDEN_ROWS]
    with torch.no_grad():
        tokens, pixels = inputs.tokens[richest], inputs.pixels[richest]
        ratings, words = inputs.ratings[richest], inputs.review_text[richest]
        price = inputs.price[richest]
        parts = [trained.text(tokens), trained.image(pixels), trained.price(price), trained.reviews(ratings, words)]
    fused = dict(zip((modality.value for modality in card.ENCODED), parts, strict=True))
    # The last golden product lacks its picture: the canary sees that absence is handled.
    present = torch.ones(len(richest), len(parts))
    present[-1, 1] = 0.0
    opinions = {name: torch.from_numpy(values) for name, values in opinion_inputs(GOLDEN_REVIEWS).items()}
    return [
        Served("text", trained.text, {"tokens": tokens}, card.OUTPUT),
        Served("image", trained.image, {"pixels": pixels}, card.OUTPUT),
        Served("price", trained.price, {"price": price}, card.OUTPUT),
        Served("reviews", trained.reviews, {"ratings": ratings, "text": words}, card.OUTPUT),
        Served("fusion", trained.fusion, {**fused, "present": present}, card.OUTPUT),
        Served("caption", CaptionEncoder(trained.caption), {"text": fused["text"][:, : sizes.text]}, card.OUTPUT),
        Served(card.SENTIMENT, trained.sentiment, opinions, card.OUTPUT),
    ]


def export(
    trained: Trained,
    data: TrainingData,
    options: TrainingOptions,
    out: Path,
    ranking: Mapping[str, float],
    metrics: Mapping[str, float],
    backend: str = "python",
) -> card.Manifest:
    """Write `out`/VERSION and point `out`/current at it. The same networks give the same version.

    `backend`: one of repository.BACKENDS. Raises ConfigurationError for networks that give no numbers.
    """
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out, prefix=".writing-") as scratch:
        folder = Path(scratch) / "model"
        golden: dict[str, NDArray[np.generic]] = {}
        digest = hashlib.sha256(
            repr((options.sizes, sorted(trained.typical_prices.items()), sorted(ranking.items()))).encode()
        )
        for served in served_models(trained, options.sizes):
            _write_model(served, folder / card.TRITON / served.name, backend, golden)
            for tensor in served.module.state_dict().values():
                digest.update(tensor.contiguous().numpy().tobytes())
        if trained.text.reader.tokenizer is not None:
            shutil.copyfile(trained.text.reader.tokenizer, folder / TOKENIZER)
        np.savez(folder / card.GOLDEN, **golden)  # type: ignore[arg-type]
        np.savez(folder / WEIGHTS, **trained.networks.state())  # type: ignore[arg-type]
        if trained.attention is not None:
            np.save(folder / card.ATTENTION, trained.attention)
            digest.update(trained.attention.tobytes())
        head = pricing.fit(options.sizes.layout(""), trained.vectors(), data.products, options.seed)
        if head is not None:
            head.save(folder)
            digest.update(head.weights.tobytes())
            metrics = {**metrics, "price_error": head.error, "price_error_of_category": head.error_of_category}
        version = f"m{digest.hexdigest()[:12]}"
        manifest = card.Manifest(
            model_version=version,
            segments=tuple(
                card.SegmentEntry(name=Modality(name), size=getattr(options.sizes, name))
                for name in ("text", "image", "price", "reviews", "joint", "terms")
            ),
            preprocessing=dict(INPUT_SIZES),
            typical_prices=dict(trained.typical_prices),
            ranking=dict(ranking),
            training={
                "data": data.fingerprint(),
                "products": len(data.products),
                "interactions": len(data.items),
                "reviews": len(data.reviews),
                "seed": options.seed,
                "epochs": len(trained.losses),
                "text": options.text.partition(":")[0],
                "image": options.image,
                "fusion": options.fusion,
                **{f"loss_{name}": weight for name, weight in sorted(options.losses.items())},
            },
            metrics=dict(metrics),
            files=card.digests(folder),
        )
        (folder / card.FILE).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
        repository.install(folder, out, version)
    return card.load(out / version)


def _write_model(served: Served, folder: Path, backend: str, golden: dict[str, NDArray[np.generic]]) -> None:
    (folder / "1").mkdir(parents=True)
    with torch.no_grad():
        expected = served.module.eval()(*served.inputs.values())
    if not bool(torch.isfinite(expected).all()):
        raise ConfigurationError(f"model {served.name!r} gives values that are no numbers; it is not exported")
    write_onnx(served, folder / "1" / "model.onnx")
    inputs = {
        name: (_TRITON_TYPES[str(tensor.numpy().dtype)], tensor.shape[1:]) for name, tensor in served.inputs.items()
    }
    repository.write_config(folder, inputs, served.output, expected.shape[1], backend)
    for name, tensor in served.inputs.items():
        golden[f"{served.name}/{name}"] = tensor.numpy()
    golden[f"{served.name}/{served.output}"] = expected.numpy()


def write_onnx(served: Served, path: Path) -> None:
    """The module as one ONNX file that takes any number of rows up to MOST_ROWS."""
    onnx_program(served.module.eval(), served.inputs, served.output).save(str(path), external_data=False)


def onnx_program(module: nn.Module, inputs: Mapping[str, Tensor], output: str) -> torch.onnx.ONNXProgram:
    """The network as ONNX, for batches of 1 to MOST_ROWS. `inputs` are examples, by name, with the batch first."""
    batch = torch.export.Dim("batch", min=1, max=MOST_ROWS)
    with warnings.catch_warnings(), _collection_paused(), _quiet("torch.onnx", "onnxscript", "onnx_ir"):
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module,
            tuple(inputs.values()),
            input_names=list(inputs),
            output_names=[output],
            dynamic_shapes=tuple({0: batch} for _ in inputs),
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    if program is None:
        raise RuntimeError(f"torch.onnx.export gave nothing for {output}")
    return program


@contextmanager
def _collection_paused() -> Iterator[None]:
    """No garbage collection: up to CPython 3.11.7 one that lets another thread parse breaks `ast.parse` (gh-106905)."""
    paused = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if paused:
            gc.enable()


class _quiet:
    """The exporter's progress goes to the log only when something is wrong."""

    def __init__(self, *names: str) -> None:
        self._loggers = [logging.getLogger(name) for name in names]

    def __enter__(self) -> None:
        self._levels = [logger.level for logger in self._loggers]
        for logger in self._loggers:
            logger.setLevel(logging.ERROR)

    def __exit__(self, *_: object) -> None:
        for logger, level in zip(self._loggers, self._levels, strict=True):
            logger.setLevel(level)
