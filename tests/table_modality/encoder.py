"""One token a column: its value and the column's own vector."""

import torch
from torch import Tensor, nn

from fex.nets import BaseEncoder, EncoderOutput

__all__ = ["ColumnEncoder"]


class ColumnEncoder(BaseEncoder):
    """A linear layer a column, and a mix of all of them into each."""

    def __init__(self, columns: int, dim: int = 16) -> None:
        super().__init__(dim, {"columns": columns, "dim": dim}, frozen=False)
        self.value = nn.Parameter(torch.randn(columns, dim))
        self.column = nn.Parameter(torch.randn(columns, dim))
        self.mix = nn.Linear(dim, dim)

    def forward(self, inputs: Tensor, grid: tuple[int, int] | None = None) -> EncoderOutput:
        tokens = inputs.unsqueeze(-1) * self.value + self.column
        pooled = self.mix(tokens.relu().mean(1))
        return EncoderOutput(tokens + pooled.unsqueeze(1), pooled)
