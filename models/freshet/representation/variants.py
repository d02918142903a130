"""A model served otherwise: with weights of eight bits, or by another backend of Triton. No torch; needs onnxruntime.

A variant is a model of its own: its vectors differ a little, so it has its own version, its own golden vectors, and
everything is encoded with it anew.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from freshet.errors import ConfigurationError
from freshet.representation import manifest as card
from freshet.representation import repository

LEAST_BYTES = 2**20
"""Networks of smaller matrices than this gain nothing by eight bits."""


def variant(
    folder: Path,
    out: Path,
    weights: card.Weights | None = None,
    backend: str | None = None,
    instances: int = 1,
) -> card.Manifest:
    """Write the model in `folder` anew under `out`, and point `out`/current at it. The same choice, the same version.

    int8: matrices of large networks are rounded to 8 bits per output, and what they are multiplied by on the way
    (dynamic quantisation). `backend`: one of repository.BACKENDS, with so many `instances` of each model a device.
    None leaves what the model has. Raises ConfigurationError and ModelMismatch.
    """
    model = card.load(folder)
    weights = weights or model.weights
    if backend is not None:
        repository.check_backend(backend)
    if weights != model.weights and model.weights != "float32":
        raise ConfigurationError(f"{folder} has weights in {model.weights}; a variant is made of the float32 model")
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out, prefix=".writing-") as scratch:
        written = Path(scratch) / "model"
        shutil.copytree(model.folder, written)
        golden, rounded = model.golden(), False
        for name in model.served if weights != model.weights else ():
            path = card.network_file(written, name)
            if _matrix_bytes(path) >= LEAST_BYTES:
                to_int8(path)
                rounded = True
                golden[f"{name}/{card.OUTPUT}"] = run(path, card.golden_inputs(golden, name))
        if weights != model.weights and not rounded:
            raise ConfigurationError(
                f"no network of {folder} has a megabyte of matrices, so that 8 bits gain nothing; they are for models "
                "with a sentence encoder (freshet train --text minilm)"
            )
        np.savez(written / card.GOLDEN, **golden)  # type: ignore[arg-type]
        if backend is not None:
            for name in model.served:
                repository.serve_by(written / card.TRITON / name, backend, instances)
        (written / card.FILE).unlink()
        files = card.digests(written)
        digest = hashlib.sha256(repr((model.model_version, weights, sorted(files.items()))).encode())
        # Another backend gives the same vectors: they are the same model's.
        version = model.model_version if weights == model.weights else f"m{digest.hexdigest()[:12]}"
        told = model.model_copy(update={"model_version": version, "weights": weights, "files": files})
        if weights != model.weights:
            # What was measured was measured of the other.
            made = {**model.training, "made_of": model.model_version}
            told = told.model_copy(update={"metrics": {}, "training": made})
        (written / card.FILE).write_text(told.model_dump_json(indent=2) + "\n", encoding="utf-8")
        repository.install(written, out, version)
    return card.load(out / version)


def run(path: Path, inputs: Mapping[str, NDArray[np.generic]]) -> NDArray[np.float32]:
    """What the network in this file answers."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    found: NDArray[np.float32] = session.run([card.OUTPUT], dict(inputs))[0]
    return found


def _matrix_bytes(path: Path) -> int:
    """Bytes of the matrices that activations are multiplied by."""
    graph = onnx.load(str(path)).graph
    multiplied = {name for node in graph.node if node.op_type in ("MatMul", "Gemm") for name in node.input}
    return sum(len(each.raw_data) for each in graph.initializer if each.name in multiplied)


def to_int8(path: Path) -> None:
    """Round a network's matrices, in place: int8 per output, activations by dynamic quantisation."""
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.quantization.shape_inference import quant_pre_process

    ready = path.with_suffix(".ready")
    quant_pre_process(str(path), str(ready), skip_symbolic_shape=True)
    quantize_dynamic(
        str(ready),
        str(path),
        op_types_to_quantize=["MatMul", "Gemm"],
        per_channel=True,
        weight_type=QuantType.QInt8,
    )
    ready.unlink()
