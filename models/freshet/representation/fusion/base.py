"""What all fusions share: absent modalities are cut off before anything is learned of them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from freshet.representation.options import Sizes
from freshet.representation.tensors import unit

HIDDEN = 128
TEXT_SCALE = 3.0
"""Texts begin so much longer than unit, or what the other modalities are at random drowns them."""


class Fusion(nn.Module):
    """Projects each modality to one size, mixes the projections, and maps the mixture to a unit vector.

    A form of fusion says how to `mix`. Whatever it does, an absent modality enters as zeros alone, and a product
    without any modality has a zero vector.
    """

    head: nn.Module

    def __init__(self, sizes: Sizes, hidden: int = HIDDEN) -> None:
        super().__init__()
        self.projections = nn.ModuleList([nn.Linear(size, hidden) for size in sizes.fused])

    def forward(self, text: Tensor, image: Tensor, price: Tensor, reviews: Tensor, present: Tensor) -> Tensor:
        """→ float32 (B, joint), unit length. Modalities are (B, size each), a text without its terms.

        `present` is float32 (B, 4) of 0 and 1.
        """
        parts = [part * present[:, i : i + 1] for i, part in enumerate((text, image, price, reviews))]
        projected = torch.stack([layer(part) for layer, part in zip(self.projections, parts, strict=True)], dim=1)
        joint = unit(self.head(self.mix(parts, projected * present[:, :, None], present)))
        return joint * present.amax(dim=1, keepdim=True)

    @torch.no_grad()
    def begin_with(self, texts: Tensor) -> None:
        """Have the mixture begin as the principal directions of these texts, (products, text) of unit length.

        Word vectors are solved in closed form and rank well by themselves: what steps learn is added to that. Begun at
        random, the fused vector needs thousands of steps to come near it.
        """
        _, directions = torch.linalg.eigh(texts.T @ texts)
        project, head = self.projections[0], self.head
        assert isinstance(project, nn.Linear)
        assert isinstance(head, nn.Linear)
        kept = min(directions.shape[1], project.out_features)
        project.weight[:kept] = TEXT_SCALE * directions.flip(1)[:, :kept].T
        project.bias.zero_()
        head.weight.zero_()
        head.weight[:, : head.out_features] = torch.eye(head.out_features, head.in_features)[:, : head.out_features]
        if head.bias is not None:
            head.bias.zero_()

    def mix(self, parts: list[Tensor], projected: Tensor, present: Tensor) -> Tensor:
        """→ (B, hidden). `parts` (B, size each) and `projected` (B, 4, hidden) are zero where a modality is absent."""
        raise NotImplementedError
