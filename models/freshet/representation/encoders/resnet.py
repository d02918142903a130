"""Residual networks (He et al., 2016) in torchvision's layout, so that its weights fit."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional


class Basic(nn.Module):
    """Two 3 × 3 convolutions beside a shortcut."""

    expansion: ClassVar[int] = 1

    def __init__(self, channels: int, planes: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, planes, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.downsample = _shortcut(channels, planes, stride)

    def forward(self, maps: Tensor) -> Tensor:
        """maps (B, channels, h, w) → (B, planes, h / stride, w / stride)."""
        inner = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(maps)))))
        return functional.relu(inner + (maps if self.downsample is None else self.downsample(maps)))


class Bottleneck(nn.Module):
    """A 3 × 3 convolution between two of 1 × 1, beside a shortcut."""

    expansion: ClassVar[int] = 4

    def __init__(self, channels: int, planes: int, stride: int) -> None:
        super().__init__()
        wide = planes * self.expansion
        self.conv1, self.bn1 = nn.Conv2d(channels, planes, 1, bias=False), nn.BatchNorm2d(planes)
        self.conv2, self.bn2 = nn.Conv2d(planes, planes, 3, stride, 1, bias=False), nn.BatchNorm2d(planes)
        self.conv3, self.bn3 = nn.Conv2d(planes, wide, 1, bias=False), nn.BatchNorm2d(wide)
        self.downsample = _shortcut(channels, wide, stride)

    def forward(self, maps: Tensor) -> Tensor:
        """maps (B, channels, h, w) → (B, 4 planes, h / stride, w / stride)."""
        inner = functional.relu(self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(maps))))))
        return functional.relu(
            self.bn3(self.conv3(inner)) + (maps if self.downsample is None else self.downsample(maps))
        )


class ResNet(nn.Module):
    """Without its classifier: `width` numbers a picture, the mean over the last maps."""

    def __init__(self, block: type[Basic] | type[Bottleneck], depths: tuple[int, int, int, int]) -> None:
        super().__init__()
        self.width = 512 * block.expansion
        self.conv1, self.bn1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64)
        channels, layers = 64, []
        for stage, depth in enumerate(depths):
            blocks: list[nn.Module] = []
            for i in range(depth):
                blocks.append(block(channels, 64 * 2**stage, 2 if stage and not i else 1))
                channels = 64 * 2**stage * block.expansion
            layers.append(nn.Sequential(*blocks))
        self.layer1, self.layer2, self.layer3, self.layer4 = layers

    def forward(self, picture: Tensor) -> Tensor:
        """picture float32 (B, 3, h, w), normalised as for ImageNet → (B, width)."""
        maps = functional.max_pool2d(functional.relu(self.bn1(self.conv1(picture))), 3, 2, 1)
        pooled: Tensor = self.layer4(self.layer3(self.layer2(self.layer1(maps)))).mean(dim=(2, 3))
        return pooled


def _shortcut(channels: int, wanted: int, stride: int) -> nn.Module | None:
    if stride == 1 and channels == wanted:
        return None
    return nn.Sequential(nn.Conv2d(channels, wanted, 1, stride, bias=False), nn.BatchNorm2d(wanted))
