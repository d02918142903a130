"""Pictures: networks over 64 × 64 pixels, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from freshet.representation.tensors import unit


class ConvolutionalEncoder(nn.Module):
    """A small convolutional network over 64 × 64 pixels, with the colour histogram it would otherwise have to learn."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 24, 5, stride=2, padding=2), nn.BatchNorm2d(24), nn.ReLU(),
            nn.Conv2d(24, 48, 3, stride=2, padding=1), nn.BatchNorm2d(48), nn.ReLU(),
            nn.Conv2d(48, 96, 3, stride=2, padding=1), nn.BatchNorm2d(96), nn.ReLU(),
            nn.Conv2d(96, 128, 3, stride=2, padding=1), nn.BatchNorm2d(128), nn.ReLU(),
        )  # fmt: skip
        self.head = nn.Linear(256, size)

    def forward(self, pixels: Tensor) -> Tensor:
        """pixels uint8 (B, 64, 64, 3) → float32 (B, size), unit length."""
        maps = self.layers(pixels.float().permute(0, 3, 1, 2) / 127.5 - 1.0)
        pooled = torch.cat([maps.mean(dim=(2, 3)), maps.amax(dim=(2, 3))], dim=1)
        return unit(self.head(pooled))


IMAGE: Mapping[str, Callable[[int], nn.Module]] = {"cnn": ConvolutionalEncoder}
"""By name: from the size of the vector to a module from pixels uint8 (B, 64, 64, 3) to unit vectors (B, size)."""
