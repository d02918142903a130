"""A small vision transformer (Dosovitskiy et al., 2021), whose patches come out of convolutions (Xiao et al., 2021)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class Attention(nn.Module):
    """Multi-head self-attention, its projections packed as timm's are: queries, keys, values in one matrix."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"a width of {width} is not shared evenly by {heads} heads")
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """tokens (B, n, width) → (B, n, width)."""
        _, count, width = tokens.shape
        packed = self.qkv(tokens).view(-1, count, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        queries, keys, values = packed.unbind(dim=0)
        mixed = functional.scaled_dot_product_attention(queries, keys, values)
        attended: Tensor = self.proj(mixed.transpose(1, 2).reshape(-1, count, width))
        return attended


class Mlp(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """tokens (B, n, width) → (B, n, width)."""
        refined: Tensor = self.fc2(functional.gelu(self.fc1(tokens)))
        return refined


class Block(nn.Module):
    """Attention, then an MLP, each behind a layer norm and beside a shortcut. Parameters are named as timm's are."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.norm1, self.attn = nn.LayerNorm(width, eps=1e-6), Attention(width, heads)
        self.norm2, self.mlp = nn.LayerNorm(width, eps=1e-6), Mlp(width, hidden)

    def forward(self, tokens: Tensor) -> Tensor:
        """tokens (B, n, width) → (B, n, width)."""
        tokens = tokens + self.attn(self.norm1(tokens))
        refined: Tensor = tokens + self.mlp(self.norm2(tokens))
        return refined


class Transformer(nn.Module):
    """Patches of 8 × 8 pixels, a few blocks, and the mean over what comes out."""

    def __init__(self, width: int = 96, depth: int = 3, heads: int = 4) -> None:
        super().__init__()
        self.width = width
        self.patches = nn.Sequential(
            nn.Conv2d(3, 24, 3, stride=2, padding=1), nn.BatchNorm2d(24), nn.ReLU(),
            nn.Conv2d(24, 48, 3, stride=2, padding=1), nn.BatchNorm2d(48), nn.ReLU(),
            nn.Conv2d(48, width, 3, stride=2, padding=1),
        )  # fmt: skip
        self.places = nn.Parameter(0.02 * torch.randn(1, 64, width))
        self.blocks = nn.Sequential(*(Block(width, heads, 2 * width) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)

    def forward(self, picture: Tensor) -> Tensor:
        """picture float32 (B, 3, 64, 64) → (B, width)."""
        tokens = self.patches(picture).flatten(2).transpose(1, 2) + self.places
        pooled: Tensor = self.norm(self.blocks(tokens)).mean(dim=1)
        return pooled
