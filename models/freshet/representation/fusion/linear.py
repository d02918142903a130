"""The shallow forms: a weighted average, and an element-wise product."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from freshet.representation.fusion.base import HIDDEN, Fusion
from freshet.representation.options import Sizes
from freshet.representation.tensors import TINY


class WeightedFusion(Fusion):
    """A weighted average of projections: h = Σ_j α_j f_j over the present modalities, α learned and summing to one."""

    def __init__(self, sizes: Sizes, hidden: int = HIDDEN) -> None:
        super().__init__(sizes, hidden)
        self.weights = nn.Parameter(torch.zeros(len(sizes.fused)))
        self.head = nn.Linear(hidden, sizes.joint, bias=False)

    def mix(self, parts: list[Tensor], projected: Tensor, present: Tensor) -> Tensor:
        weights = torch.exp(self.weights) * present
        weights = weights / weights.sum(dim=1, keepdim=True).clamp_min(TINY)
        return (weights[:, :, None] * projected).sum(dim=1)


class ProductFusion(Fusion):
    """An element-wise product of projections: h = Π_j (1 + f_j). An absent modality is a factor of one.

    Factors lie around one, so that a product of them neither vanishes nor explodes before anything is learned.
    """

    def __init__(self, sizes: Sizes, hidden: int = HIDDEN) -> None:
        super().__init__(sizes, hidden)
        self.head = nn.Linear(hidden, sizes.joint, bias=False)

    def mix(self, parts: list[Tensor], projected: Tensor, present: Tensor) -> Tensor:
        factors = 1.0 + torch.tanh(projected)
        mixed = factors[:, 0]
        for i in range(1, len(parts)):
            mixed = mixed * factors[:, i]
        return mixed - 1.0
