"""Description and title: sums of word vectors that `words.text_table` made."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from freshet.representation.tensors import unit


class TextEncoder(nn.Module):
    """Sums of word vectors. The table is kept in float16: half the file, and no loss that can be measured."""

    table: Tensor

    def __init__(self, table: NDArray[np.float32], size: int) -> None:
        """`table`: (TEXT_BUCKETS + 1, size + terms) as `words.text_table` makes it; row 0 is padding and zero."""
        super().__init__()
        self.size = size
        self.register_buffer("table", torch.from_numpy(table).to(torch.float16))

    def forward(self, tokens: Tensor) -> Tensor:
        """tokens int32 (B, TEXT_LENGTH) → float32 (B, size + terms): learned, as long as it is; terms, unit length."""
        sums = self.table[tokens.long()].float().sum(dim=1)
        return torch.cat([sums[:, : self.size], unit(sums[:, self.size :])], dim=1)
