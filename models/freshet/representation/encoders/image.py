"""Pictures: networks over 64 × 64 pixels, by name, or learned elsewhere and read from a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from freshet.errors import ConfigurationError
from freshet.representation.encoders.augmentation import Augmentation
from freshet.representation.encoders.colours import Colours
from freshet.representation.encoders.pretrained import PretrainedEncoder
from freshet.representation.encoders.vit import Transformer
from freshet.representation.tensors import unit


class PictureEncoder(nn.Module):
    """Augments while training, and puts what a network sees beside the colours, which it would otherwise have to learn.

    `network` maps float32 (B, 3, 64, 64) from -1 to 1 to (B, `width`).
    """

    def __init__(self, network: nn.Module, width: int, size: int) -> None:
        super().__init__()
        self.augmentation = Augmentation()
        self.network = network
        self.colours = Colours()
        self.seen, self.painted = nn.LayerNorm(width), nn.LayerNorm(Colours.size)
        self.head = nn.Linear(width + Colours.size, size)

    def forward(self, pixels: Tensor) -> Tensor:
        """pixels uint8 (B, 64, 64, 3) → float32 (B, size), unit length."""
        picture = self.augmentation(pixels).float().permute(0, 3, 1, 2) / 127.5 - 1.0
        seen, painted = self.seen(self.network(picture)), self.painted(self.colours(picture))
        return unit(self.head(torch.cat([seen, painted], dim=1)))


class Convolutions(nn.Module):
    """Four convolutions, each halving the picture's sides; then each channel's mean and highest value."""

    width = 256

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 24, 5, stride=2, padding=2), nn.BatchNorm2d(24), nn.ReLU(),
            nn.Conv2d(24, 48, 3, stride=2, padding=1), nn.BatchNorm2d(48), nn.ReLU(),
            nn.Conv2d(48, 96, 3, stride=2, padding=1), nn.BatchNorm2d(96), nn.ReLU(),
            nn.Conv2d(96, 128, 3, stride=2, padding=1), nn.BatchNorm2d(128), nn.ReLU(),
        )  # fmt: skip

    def forward(self, picture: Tensor) -> Tensor:
        """picture float32 (B, 3, 64, 64) → (B, width)."""
        maps = self.layers(picture)
        return torch.cat([maps.mean(dim=(2, 3)), maps.amax(dim=(2, 3))], dim=1)


def cnn(size: int) -> nn.Module:
    return PictureEncoder(Convolutions(), Convolutions.width, size)


def vit(size: int) -> nn.Module:
    network = Transformer()
    return PictureEncoder(network, network.width, size)


IMAGE: Mapping[str, Callable[[int], nn.Module]] = {"cnn": cnn, "vit": vit}
"""By name: from the size of the vector to a module from pixels uint8 (B, 64, 64, 3) to unit vectors (B, size)."""
FROM_FILE = {"frozen": True, "tuned": False}
"""What stands before a file's path, and whether training leaves its weights as they are."""


def check_image(name: str) -> tuple[str, str]:
    """("", a name of IMAGE), or ("frozen" or "tuned", a path). Raises ConfigurationError."""
    way, _, path = name.partition(":")
    if name in IMAGE:
        return "", name
    if way not in FROM_FILE or not path:
        known = ", ".join([*sorted(IMAGE), *(f"{each}:PATH" for each in FROM_FILE)])
        raise ConfigurationError(f"image: {name!r} is unknown; one of {known} is needed")
    return way, path


def image_encoder(name: str, size: int) -> nn.Module:
    """`name` is one of IMAGE; or `frozen:PATH` or `tuned:PATH` for weights from a file. Raises ConfigurationError."""
    way, named = check_image(name)
    return PretrainedEncoder(Path(named), size, frozen=FROM_FILE[way]) if way else IMAGE[named](size)
