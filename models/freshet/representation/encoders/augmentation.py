"""Pictures as they might have been taken: what training shows of a picture instead of always the same."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

WHITE = 255.0


class Augmentation(nn.Module):
    """Shifts, crops, mirrors and colours each picture of a batch by chances of its own, while training only.

    `shift` and `crop` are shares of the picture's side, `flip` is the probability of being mirrored, `light` and
    `colour` are shares by which all channels together, and each alone, become brighter or darker. Chances are torch's
    own, as dropout's are: `torch.manual_seed` repeats them. Slight as they are: shown 96 batches of pictures of one
    shop, which stand alike and whose words name their colour, a network learns half as much where they are large.
    """

    def __init__(
        self, shift: float = 0.02, crop: float = 0.04, flip: float = 0.5, light: float = 0.04, colour: float = 0.02
    ) -> None:
        super().__init__()
        self.shift, self.crop, self.flip, self.light, self.colour = shift, crop, flip, light, colour

    def forward(self, pixels: Tensor) -> Tensor:
        """pixels uint8 (B, height, width, 3) → the same shape and type. What comes in from outside is white."""
        if not self.training:
            return pixels
        count = len(pixels)
        scale = 1.0 - self.crop * torch.rand(count, device=pixels.device)
        mirrored = torch.where(torch.rand(count, device=pixels.device) < self.flip, -1.0, 1.0)
        places = pixels.new_zeros((count, 2, 3), dtype=torch.float32)
        places[:, 0, 0] = mirrored * scale
        places[:, 1, 1] = scale
        places[:, :, 2] = 2.0 * self.shift * _around_zero(pixels, 2)
        # White becomes zero, which is what the grid reads outside of the picture.
        picture = pixels.permute(0, 3, 1, 2).float() - WHITE
        grid = functional.affine_grid(places, list(picture.shape), align_corners=False)
        moved = functional.grid_sample(picture, grid, align_corners=False) + WHITE
        gain = 1.0 + self.light * _around_zero(pixels, 1, 1, 1) + self.colour * _around_zero(pixels, 3, 1, 1)
        return (moved * gain).round().clamp(0.0, 255.0).to(torch.uint8).permute(0, 2, 3, 1)


def _around_zero(pixels: Tensor, *shape: int) -> Tensor:
    return torch.rand((len(pixels), *shape), device=pixels.device) * 2.0 - 1.0
