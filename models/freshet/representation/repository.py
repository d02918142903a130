"""Models on disk: the repository that Triton reads, and the folder of versions that `current` points into. No torch."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from freshet.errors import ConfigurationError

MOST_ROWS = 256
"""Triton's max_batch_size."""
KINDS = {"python": "KIND_CPU", "onnxruntime": "KIND_GPU"}
"""Triton's backends: onnxruntime inside the Python backend, or its own ONNX backend, as NGC's images have it."""
_PROGRAM = Path(__file__).parents[2] / "triton" / "model.py"


def check_backend(backend: str) -> None:
    """Raises ConfigurationError."""
    if backend not in KINDS:
        raise ConfigurationError(f"backend is {backend!r}; {' or '.join(KINDS)} is needed")


def write_config(
    folder: Path, inputs: Mapping[str, tuple[str, Sequence[int]]], output: str, size: int, backend: str
) -> None:
    """config.pbtxt of the model named as its folder. `inputs`: by name, Triton's type and the dimensions of one row."""
    rows = ",\n".join(
        f'  {{ name: "{name}" data_type: {kind} dims: [ {", ".join(map(str, shape))} ] }}'
        for name, (kind, shape) in inputs.items()
    )
    (folder / "config.pbtxt").write_text(
        f'name: "{folder.name}"\n'
        f'backend: "{backend}"\n'
        f"max_batch_size: {MOST_ROWS}\n"
        f"input [\n{rows}\n]\n"
        f'output [\n  {{ name: "{output}" data_type: TYPE_FP32 dims: [ {size} ] }}\n]\n'
        f"instance_group [ {{ count: 1 kind: {KINDS[backend]} }} ]\n"
        "dynamic_batching { max_queue_delay_microseconds: 0 }\n",
        encoding="utf-8",
    )
    _put_program(folder, backend)


def change_backend(folder: Path, backend: str) -> None:
    """Have a model that is there served by this backend: nothing else differs."""
    path = folder / "config.pbtxt"
    config = re.sub(r'backend: "\w+"', f'backend: "{backend}"', path.read_text(encoding="utf-8"))
    path.write_text(re.sub(r"kind: \w+", f"kind: {KINDS[backend]}", config), encoding="utf-8")
    _put_program(folder, backend)


def _put_program(folder: Path, backend: str) -> None:
    program = folder / "1" / "model.py"
    if backend == "python":
        shutil.copyfile(_PROGRAM, program)
    else:
        program.unlink(missing_ok=True)


def install(folder: Path, out: Path, version: str) -> None:
    """Move a finished model to `out`/version, and point `out`/current at it in one step."""
    final = out / version
    if final.exists():
        shutil.rmtree(final)
    os.replace(folder, final)
    pointer = out / f".current-{os.getpid()}"
    pointer.unlink(missing_ok=True)
    pointer.symlink_to(version)
    os.replace(pointer, out / "current")
