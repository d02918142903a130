"""A training run's folder: its configuration, what came of every epoch, and where to go on after a kill.

config.json, checkpoint.pt, metrics.jsonl (a line an epoch), metrics.json and curves.png. Every file is replaced whole.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from freshet.errors import ConfigurationError
from freshet.representation.curves import draw

CONFIG = "config.json"
CHECKPOINT = "checkpoint.pt"
METRICS = "metrics.json"


@dataclass(frozen=True, slots=True)
class Epoch:
    """`loss` is the weighted sum of `losses`, means over the epoch's steps. `seconds` are those since the run began."""

    epoch: int
    loss: float
    losses: Mapping[str, float]
    seconds: float


@dataclass(frozen=True)
class Checkpoint:
    """Everything that the next epoch depends on."""

    history: Sequence[Epoch]
    values: Mapping[str, Any]

    @classmethod
    def of(
        cls,
        history: Sequence[Epoch],
        networks: nn.Module,
        optimiser: torch.optim.Optimizer,
        generator: np.random.Generator,
    ) -> Checkpoint:
        values = {
            "networks": networks.state_dict(),
            "optimiser": optimiser.state_dict(),
            "generator": json.dumps(generator.bit_generator.state),
            "torch": torch.get_rng_state(),
        }
        return cls(tuple(history), values)

    def restore(self, networks: nn.Module, optimiser: torch.optim.Optimizer, generator: np.random.Generator) -> None:
        networks.load_state_dict(self.values["networks"])
        optimiser.load_state_dict(self.values["optimiser"])
        generator.bit_generator.state = json.loads(self.values["generator"])
        torch.set_rng_state(self.values["torch"])


class Run:
    """One folder. Building it writes nothing."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def begun(self) -> bool:
        return (self.folder / CONFIG).is_file()

    def config(self) -> dict[str, Any]:
        """What the run was begun with. Raises ConfigurationError."""
        try:
            values = json.loads((self.folder / CONFIG).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"{self.folder / CONFIG} cannot be read: {error}") from error
        if not isinstance(values, dict):
            raise ConfigurationError(f"{self.folder / CONFIG} holds no object")
        return values

    def begin(self, config: Mapping[str, Any]) -> None:
        """Write down what the run is about, or check that a run begun here is about the same.

        Raises ConfigurationError that names what differs.
        """
        if not self.begun:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._write(CONFIG, (json.dumps(config, indent=2, sort_keys=True) + "\n").encode())
            return
        before, now = _flat(self.config()), _flat(json.loads(json.dumps(config)))
        for name in sorted(before.keys() | now.keys()):
            if before.get(name) != now.get(name):
                raise ConfigurationError(
                    f"the run in {self.folder} was begun with {name} {before.get(name)!r}, not {now.get(name)!r}; "
                    "go on with what it was begun with, or name another folder"
                )

    def checkpoint(self) -> Checkpoint | None:
        """After the last whole epoch; None before the first. Raises ConfigurationError."""
        path = self.folder / CHECKPOINT
        if not path.is_file():
            return None
        try:
            values = torch.load(path, map_location="cpu", weights_only=True)
            history = [Epoch(**epoch) for epoch in json.loads(values["history"])]
        except (OSError, RuntimeError, EOFError, KeyError, ValueError, TypeError) as error:
            raise ConfigurationError(f"{path} cannot be read: {error}; delete it to begin the run anew") from error
        return Checkpoint(tuple(history), values)

    def keep(self, checkpoint: Checkpoint) -> None:
        """Keep what came of the epochs so far."""
        epochs = [asdict(epoch) for epoch in checkpoint.history]
        content = io.BytesIO()
        torch.save({**checkpoint.values, "history": json.dumps(epochs)}, content)
        self._write(CHECKPOINT, content.getvalue())
        self._write("metrics.jsonl", "".join(json.dumps(epoch) + "\n" for epoch in epochs).encode())
        curves = {"loss": [epoch.loss for epoch in checkpoint.history]}
        for name in checkpoint.history[0].losses:
            curves[name] = [epoch.losses[name] for epoch in checkpoint.history]
        self._write("curves.png", draw(curves))

    def finish(self, metrics: Mapping[str, Any]) -> None:
        """Write what the whole run reached."""
        self._write(METRICS, (json.dumps(metrics, indent=2, sort_keys=True) + "\n").encode())

    def _write(self, name: str, content: bytes) -> None:
        """Whole or not at all, whenever the process is killed."""
        scratch = self.folder / f".{name}.{os.getpid()}"
        with scratch.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(scratch, self.folder / name)


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict) and value:
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat
