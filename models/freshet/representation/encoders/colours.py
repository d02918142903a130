"""What colours a picture has, as numbers that a network may weigh."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

BINS = 4
"""Bins of each of the three channels."""


class Colours(nn.Module):
    """Square roots of soft joint colour histograms: of the whole picture, and of its middle.

    A pixel is shared among the bins that it lies between, so that a shade more or less changes little. The roots make
    the inner product of two histograms their Bhattacharyya coefficient.
    """

    size = 2 * BINS**3
    centres: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("centres", torch.linspace(-1.0, 1.0, BINS).view(1, 1, BINS, 1, 1), persistent=False)

    def forward(self, picture: Tensor) -> Tensor:
        """picture float32 (B, 3, height, width) from -1 to 1 → float32 (B, size)."""
        small = functional.avg_pool2d(picture, 2)
        shares = (1.0 - (small.unsqueeze(2) - self.centres).abs() * ((BINS - 1) / 2.0)).clamp_min(0.0)
        height, width = small.shape[-2:]
        middle = shares[..., height // 4 : height - height // 4, width // 4 : width - width // 4]
        histograms = torch.cat([_histogram(shares), _histogram(middle)], dim=1)
        return histograms.clamp_min(1e-6).sqrt()


def _histogram(shares: Tensor) -> Tensor:
    """shares (B, 3, BINS, height, width) of each pixel in each channel's bins → (B, BINS³), each row's sum 1."""
    red, green, blue = shares.flatten(3).unbind(dim=1)
    both = (red.unsqueeze(2) * green.unsqueeze(1)).flatten(1, 2)
    return (both @ blue.transpose(1, 2)).flatten(1) / both.shape[-1]
