"""Small things that several networks need."""

from __future__ import annotations

from torch import Tensor

TINY = 1e-6


def unit(vectors: Tensor) -> Tensor:
    """L2-normalised rows (B, n); an all-zero row stays zero."""
    normalised: Tensor = vectors / vectors.norm(dim=1, keepdim=True).clamp_min(TINY)
    return normalised
