"""Words to pictures: where a picture of what a text says would lie."""

from __future__ import annotations

from torch import Tensor, nn

from freshet.representation.tensors import unit


class CaptionEncoder(nn.Module):
    """What Triton serves as `caption`, behind the text encoder: a query in words becomes one in pictures."""

    def __init__(self, projection: nn.Linear) -> None:
        """`projection`: from a text's learned part, unit length, to the picture's segment; without bias."""
        super().__init__()
        self.projection = projection

    def forward(self, text: Tensor) -> Tensor:
        """text float32 (B, text), a text's learned part of any length → float32 (B, image), unit length or zero."""
        return unit(self.projection(unit(text)))
