"""Deep fusion over all modalities at once: an MLP, and gates."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from freshet.representation.fusion.base import HIDDEN, Fusion
from freshet.representation.options import Sizes
from freshet.representation.tensors import TINY


class PerceptronFusion(Fusion):
    """An MLP over the projections side by side, told which are present."""

    def __init__(self, sizes: Sizes, hidden: int = HIDDEN) -> None:
        super().__init__(sizes, hidden)
        count = len(sizes.fused)
        self.layers = nn.Sequential(
            nn.Linear(count * hidden + count, 2 * hidden), nn.GELU(), nn.Linear(2 * hidden, hidden), nn.GELU()
        )
        self.head = nn.Linear(hidden, sizes.joint)

    def mix(self, parts: list[Tensor], projected: Tensor, present: Tensor) -> Tensor:
        mixed: Tensor = self.layers(torch.cat([projected.flatten(1), present], dim=1))
        return mixed


class GatedFusion(Fusion):
    """Each present modality is gated by all of them, summed, and refined by an MLP."""

    def __init__(self, sizes: Sizes, hidden: int = HIDDEN) -> None:
        super().__init__(sizes, hidden)
        self.gates = nn.Linear(sum(sizes.fused) + len(sizes.fused), len(sizes.fused))
        self.refine = nn.Sequential(
            nn.LayerNorm(hidden), nn.Linear(hidden, 2 * hidden), nn.GELU(), nn.Linear(2 * hidden, hidden)
        )
        self.head = nn.Linear(hidden, sizes.joint)

    def mix(self, parts: list[Tensor], projected: Tensor, present: Tensor) -> Tensor:
        gates = torch.sigmoid(self.gates(torch.cat([*parts, present], dim=1))) * present
        gates = gates / gates.sum(dim=1, keepdim=True).clamp_min(TINY)
        mixed = (gates[:, :, None] * projected).sum(dim=1)
        refined: Tensor = mixed + self.refine(mixed)
        return refined
