"""Weights learned elsewhere, from a file: torchvision's ResNet-18 and -50, timm's ViT-tiny and -small.

The layout is told by the names and shapes in the file. Nothing in the file is executed: a .pth is read with
`weights_only`, a .safetensors is numbers alone.
"""

from __future__ import annotations

import math
import pickle
import struct
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from freshet.errors import ConfigurationError
from freshet.representation.encoders.augmentation import Augmentation
from freshet.representation.encoders.resnet import Basic, Bottleneck, ResNet
from freshet.representation.encoders.vit import Block
from freshet.representation.tensors import unit

SIDE = 64
"""Pixels of what comes in, per side; a vision transformer's places are resampled to its grid."""
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet's channels."""
_UNREADABLE = (
    ArithmeticError, AssertionError, AttributeError, EOFError, LookupError, OSError, RuntimeError, TypeError,
    ValueError, pickle.UnpicklingError, struct.error,
)  # fmt: skip
"""What torch's own unpickler stumbles over, by where a file is damaged."""
_LEFT_OUT = ("fc.", "head.", "num_batches_tracked")


class PatchTransformer(nn.Module):
    """A vision transformer in timm's layout, without its classifier: the class token, normalised."""

    def __init__(self, width: int, heads: int, depth: int = 12, patch: int = 16) -> None:
        super().__init__()
        self.width, grid = width, SIDE // patch
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + grid * grid, width))
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, width, patch, patch)})
        self.blocks = nn.Sequential(*(Block(width, heads, 4 * width) for _ in range(depth)))
        self.norm = nn.LayerNorm(width, eps=1e-6)

    def forward(self, picture: Tensor) -> Tensor:
        """picture float32 (B, 3, 64, 64), normalised as for ImageNet → (B, width)."""
        patches = self.patch_embed["proj"](picture).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.cls_token.expand(len(patches), -1, -1), patches], dim=1) + self.pos_embed
        first: Tensor = self.norm(self.blocks(tokens))[:, 0]
        return first


LAYOUTS: Mapping[str, Callable[[], ResNet | PatchTransformer]] = {
    "resnet18": lambda: ResNet(Basic, (2, 2, 2, 2)),
    "resnet50": lambda: ResNet(Bottleneck, (3, 4, 6, 3)),
    "vit_tiny_patch16": lambda: PatchTransformer(192, 3),
    "vit_small_patch16": lambda: PatchTransformer(384, 6),
}


class PretrainedEncoder(nn.Module):
    """A network learned elsewhere, and a projection that training learns; `frozen` leaves the network as it came."""

    def __init__(self, path: Path, size: int, frozen: bool = True) -> None:
        """Raises ConfigurationError that names the file and what is wrong with it."""
        super().__init__()
        self.layout, self.network = load(path)
        self.frozen = frozen
        self.network.requires_grad_(not frozen)
        self.augmentation = Augmentation()
        self.register_buffer("mean", 255.0 * torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("deviation", 255.0 * torch.tensor(DEVIATION).view(1, 3, 1, 1), persistent=False)
        self.head = nn.Sequential(nn.LayerNorm(self.network.width), nn.Linear(self.network.width, size))

    mean: Tensor
    deviation: Tensor

    def train(self, mode: bool = True) -> PretrainedEncoder:
        """A frozen network keeps its batch statistics too."""
        super().train(mode)
        if self.frozen:
            self.network.eval()
        return self

    def forward(self, pixels: Tensor) -> Tensor:
        """pixels uint8 (B, 64, 64, 3) → float32 (B, size), unit length."""
        picture = self.augmentation(pixels).float().permute(0, 3, 1, 2)
        return unit(self.head(self.network((picture - self.mean) / self.deviation)))


def load(path: Path) -> tuple[str, ResNet | PatchTransformer]:
    """The layout's name, and the network with the file's weights. Raises ConfigurationError."""
    state = {name: value for name, value in read_state(path).items() if not any(part in name for part in _LEFT_OUT)}
    layout = layout_of(state, path)
    network = LAYOUTS[layout]()
    wanted = {name: value for name, value in network.state_dict().items() if "num_batches_tracked" not in name}
    if missing := sorted(wanted.keys() - state.keys()):
        raise ConfigurationError(f"{path} lacks {_listed(missing)} of {layout}; it is cut short or of another network")
    if unknown := sorted(state.keys() - wanted.keys()):
        raise ConfigurationError(f"{path} holds {_listed(unknown)}, which {layout} does not have")
    if "pos_embed" in state:
        state["pos_embed"] = resampled(state["pos_embed"], wanted["pos_embed"].shape[1] - 1, path)
    for name, value in wanted.items():
        if state[name].shape != value.shape:
            raise ConfigurationError(
                f"{path}: {name} is {tuple(state[name].shape)}, and {tuple(value.shape)} in {layout}"
            )
        if not torch.isfinite(state[name]).all():
            raise ConfigurationError(f"{path}: {name} holds values that are no numbers")
    network.load_state_dict({name: state[name].float() for name in wanted}, strict=False)
    return layout, network


def layout_of(state: Mapping[str, Tensor], path: Path) -> str:
    """Raises ConfigurationError when the names are of none of LAYOUTS."""
    if "layer1.0.conv1.weight" in state:
        return "resnet50" if "layer1.0.conv3.weight" in state else "resnet18"
    if "cls_token" in state:
        width = state["cls_token"].shape[-1]
        for name, known in (("vit_tiny_patch16", 192), ("vit_small_patch16", 384)):
            if width == known:
                return name
        raise ConfigurationError(f"{path} is a vision transformer of width {width}; 192 (tiny) or 384 (small) is read")
    raise ConfigurationError(f"{path} holds none of {', '.join(LAYOUTS)}; it begins with {_listed(sorted(state))}")


def resampled(places: Tensor, wanted: int, path: Path) -> Tensor:
    """A transformer's places (1, 1 + n, width) for another grid (1, 1 + wanted, width), the class token's as it is."""
    side = math.isqrt(max(places.shape[1] - 1, 0)) if places.dim() == 3 else 0
    if not side or side * side + 1 != places.shape[1]:
        raise ConfigurationError(f"{path}: pos_embed is {tuple(places.shape)}, no class token and square grid")
    grid = places[:, 1:].float().transpose(1, 2).reshape(1, -1, side, side)
    target = math.isqrt(wanted)
    grid = functional.interpolate(grid, (target, target), mode="bicubic", antialias=True, align_corners=False)
    return torch.cat([places[:, :1].float(), grid.flatten(2).transpose(1, 2)], dim=1)


def read_state(path: Path) -> dict[str, Tensor]:
    """Tensors by name. A checkpoint's `state_dict` or `model` is taken from inside. Raises ConfigurationError."""
    if not path.is_file():
        raise ConfigurationError(f"{path} is no file; name one of weights (.pth, .pt or .safetensors)")
    if path.suffix == ".safetensors":
        return _safetensors(path)
    try:
        read = torch.load(path, map_location="cpu", weights_only=True)
    except _UNREADABLE as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ConfigurationError(
            f"{path} cannot be read as weights; it is cut short or no state_dict: {first}"
        ) from error
    for inside in ("state_dict", "model"):
        if isinstance(read, dict) and isinstance(read.get(inside), dict):
            read = read[inside]
    if not isinstance(read, dict) or not read or not all(isinstance(value, Tensor) for value in read.values()):
        raise ConfigurationError(f"{path} is no state_dict: tensors by name are needed")
    return {str(name).removeprefix("module."): value for name, value in read.items()}


def _safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        found: dict[str, Tensor] = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ConfigurationError(
            f"{path} cannot be read as safetensors; it is cut short or damaged: {error}"
        ) from error
    return found


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:3]) or "nothing"
    return shown + (f" and {len(names) - 3} more" if len(names) > 3 else "")
