"""Random rows, held in memory."""

from typing import Any

import torch

from datamodules import DataModule

__all__ = ["TableDataModule"]


class Rows:
    """Rows as a data set: one look-up a batch."""

    def __init__(self, values: torch.Tensor) -> None:
        self.values = values

    def __len__(self) -> int:
        return len(self.values)

    def batch(self, indices: list[int]) -> dict[str, Any]:
        every = torch.as_tensor(indices)
        return {"inputs": self.values[every], "index": every, "valid": torch.ones(len(every), dtype=torch.bool)}


class TableDataModule(DataModule):
    """Rows of normal numbers."""

    noun = "rows"

    def __init__(self, columns: int, rows: int = 256, batch_size: int = 32, seed: int = 0) -> None:
        super().__init__(batch_size, seed=seed)
        self.columns, self.rows = columns, rows

    def setup(self, stage: str) -> None:
        drawn = torch.randn(2, self.rows, self.columns, generator=torch.Generator().manual_seed(self.seed))
        self.datasets = {"train": Rows(drawn[0]), "val": Rows(drawn[1]), "test": Rows(drawn[1])}
