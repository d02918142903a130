"""Models on disk: the repository that Triton reads, and the folder of versions that `current` points into. No torch."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from freshet.errors import ConfigurationError

CONFIG = "config.pbtxt"
MOST_ROWS = 256
"""Triton's max_batch_size."""
BACKENDS = {
    "python": ("python", "KIND_CPU"),
    "onnxruntime": ("onnxruntime", "KIND_GPU"),
    "tensorrt": ("onnxruntime", "KIND_GPU"),
}
"""By what `--backend` takes: Triton's backend, and what its instances run on. `python` is onnxruntime inside the Python
backend; `onnxruntime` Triton's own ONNX backend, as NGC's images have it; `tensorrt` that one with its accelerator."""
_TENSORRT = 'optimization { execution_accelerators {\n  gpu_execution_accelerator : [ { name : "tensorrt" } ]\n} }\n'
_SERVING = "# How it is served; `freshet export --backend --instances` writes this anew.\n"
_PACKED = Path(__file__).with_name("triton_model.py")
_PROGRAM = _PACKED if _PACKED.exists() else Path(__file__).parents[2] / "triton" / "model.py"
"""Where a wheel has it, else where a checkout has it."""


def check_backend(backend: str) -> None:
    """Raises ConfigurationError."""
    if backend not in BACKENDS:
        raise ConfigurationError(f"backend is {backend!r}; {', '.join(BACKENDS)} are known")


def write_config(
    folder: Path, inputs: Mapping[str, tuple[str, Sequence[int]]], output: str, size: int, backend: str
) -> None:
    """config.pbtxt of the model named as its folder. `inputs`: by name, Triton's type and the dimensions of one row."""
    rows = ",\n".join(
        f'  {{ name: "{name}" data_type: {kind} dims: [ {", ".join(map(str, shape))} ] }}'
        for name, (kind, shape) in inputs.items()
    )
    (folder / CONFIG).write_text(
        f'name: "{folder.name}"\n'
        f"max_batch_size: {MOST_ROWS}\n"
        f"input [\n{rows}\n]\n"
        f'output [\n  {{ name: "{output}" data_type: TYPE_FP32 dims: [ {size} ] }}\n]\n'
        "dynamic_batching { max_queue_delay_microseconds: 0 }\n" + _SERVING,
        encoding="utf-8",
    )
    serve_by(folder, backend)


def serve_by(folder: Path, backend: str, instances: int = 1) -> None:
    """Have a model that is there served by this backend, with so many instances a device: nothing else differs."""
    name, kind = BACKENDS[backend]
    what, _, _ = (folder / CONFIG).read_text(encoding="utf-8").partition(_SERVING)
    how = f'backend: "{name}"\ninstance_group [ {{ count: {instances} kind: {kind} }} ]\n'
    if backend == "tensorrt":
        how += _TENSORRT
    (folder / CONFIG).write_text(what + _SERVING + how, encoding="utf-8")
    program = folder / "1" / "model.py"
    if name == "python":
        shutil.copyfile(_PROGRAM, program)
    else:
        program.unlink(missing_ok=True)


def install(folder: Path, out: Path, version: str) -> None:
    """Move a finished model to `out`/version, and point `out`/current at it in one step.

    One that is there under this version goes as a whole: it is moved aside first and deleted last.
    """
    final, aside = out / version, out / f".before-{os.getpid()}"
    if final.exists():
        os.replace(final, aside)
    os.replace(folder, final)
    shutil.rmtree(aside, ignore_errors=True)
    pointer = out / f".current-{os.getpid()}"
    pointer.unlink(missing_ok=True)
    pointer.symlink_to(version)
    os.replace(pointer, out / "current")
