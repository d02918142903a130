"""Deep fusion over the modalities as a sequence (text, image, price, reviews): attention, convolution, recurrence."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from freshet.representation.fusion.base import HIDDEN, Fusion
from freshet.representation.options import Sizes
from freshet.representation.tensors import TINY

ABSENT = -1e4
"""Added to the attention that an absent modality would get."""


class _Placed(Fusion):
    """Tells the modalities of a sequence apart by a learned vector each."""

    def __init__(self, sizes: Sizes, hidden: int) -> None:
        super().__init__(sizes, hidden)
        self.places = nn.Parameter(torch.randn(len(sizes.fused), hidden) / hidden**0.5)

    def placed(self, projected: Tensor, present: Tensor) -> Tensor:
        """(B, 4, hidden), zero where a modality is absent."""
        return (projected + self.places) * present[:, :, None]


class AttentionFusion(_Placed):
    """Modalities attend to each other, then a learned question attends to them (Vaswani et al., 2017).

    An absent modality is attended to by none.
    """

    def __init__(self, sizes: Sizes, hidden: int = HIDDEN, heads: int = 4) -> None:
        super().__init__(sizes, hidden)
        self.heads = heads
        self.among = nn.Linear(hidden, 3 * hidden)
        self.norm = nn.LayerNorm(hidden)
        self.refine = nn.Sequential(nn.Linear(hidden, 2 * hidden), nn.GELU(), nn.Linear(2 * hidden, hidden))
        self.question = nn.Parameter(torch.randn(hidden) / hidden**0.5)
        self.head = nn.Linear(hidden, sizes.joint)

    def mix(self, parts: list[Tensor], projected: Tensor, present: Tensor) -> Tensor:
        sequence = self.placed(projected, present)
        hidden = sequence.shape[2]
        masked = ABSENT * (1.0 - present)
        queries, keys, values = (
            part.unflatten(2, (self.heads, hidden // self.heads)).transpose(1, 2)
            for part in self.among(self.norm(sequence)).split(hidden, dim=2)
        )
        scores = queries @ keys.transpose(2, 3) / (hidden // self.heads) ** 0.5 + masked[:, None, None]
        told = (torch.softmax(scores, dim=3) @ values).transpose(1, 2).flatten(2)
        sequence = sequence + told
        sequence = sequence + self.refine(sequence)
        asked = torch.softmax(sequence @ self.question / hidden**0.5 + masked, dim=1) * present
        mixed: Tensor = (asked[:, :, None] * sequence).sum(dim=1)
        return mixed


class ConvolutionalFusion(_Placed):
    """A one-dimensional convolution over the sequence of modalities, two deep; means over those present."""

    def __init__(self, sizes: Sizes, hidden: int = HIDDEN) -> None:
        super().__init__(sizes, hidden)
        self.first = nn.Conv1d(hidden, hidden, 3, padding=1)
        self.second = nn.Conv1d(hidden, hidden, 3, padding=1)
        self.head = nn.Linear(hidden, sizes.joint)

    def mix(self, parts: list[Tensor], projected: Tensor, present: Tensor) -> Tensor:
        sequence = self.placed(projected, present).transpose(1, 2)
        mask = present[:, None, :]
        maps = sequence + self.second(functional.gelu(self.first(sequence)) * mask) * mask
        mixed: Tensor = maps.sum(dim=2) / mask.sum(dim=2).clamp_min(TINY)
        return mixed


class RecurrentFusion(_Placed):
    """A gated recurrent unit (Cho et al., 2014) reads the modalities in turn, and passes over absent ones."""

    def __init__(self, sizes: Sizes, hidden: int = HIDDEN) -> None:
        super().__init__(sizes, hidden)
        self.cell = nn.GRUCell(hidden, hidden)
        self.head = nn.Linear(hidden, sizes.joint)

    def mix(self, parts: list[Tensor], projected: Tensor, present: Tensor) -> Tensor:
        sequence = self.placed(projected, present)
        state = torch.zeros_like(sequence[:, 0])
        for i in range(len(parts)):
            read = present[:, i : i + 1]
            state = read * self.cell(sequence[:, i], state) + (1.0 - read) * state
        return state
