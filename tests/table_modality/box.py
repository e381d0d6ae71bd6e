"""A classifier of rows whose answer is known: a sigmoid of a weighted sum."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from fex.black_box import BlackBox
from tests.table_modality.columns import Columns, TypicalRow

__all__ = ["LinearTableBox"]


class LinearTableBox(BlackBox):
    """Two classes, "no" and "yes"; the logit of "yes" is the weighted sum of the columns."""

    modality: ClassVar[str] = "table"

    def __init__(self, weights: Sequence[float], names: Sequence[str] | None = None) -> None:
        names = names or [f"column {i}" for i in range(len(weights))]
        row = TypicalRow(tuple(names), (0.0,) * len(weights))
        super().__init__(class_names=["no", "yes"], preprocess=row, chunk=4096)  # type: ignore[arg-type]
        self.weights = torch.tensor(weights)

    @property
    def neutral(self) -> tuple[float, ...]:
        return self.preprocess.typical

    @property
    def features(self) -> Columns:
        return Columns(len(self.weights))

    def _check_inputs(self, inputs: Tensor) -> None:
        if inputs.ndim != 2 or inputs.shape[1] != len(self.weights) or not bool(inputs.isfinite().all()):
            raise ValueError(f"Got rows of shape {tuple(inputs.shape)}, expected finite (B, {len(self.weights)}).")

    def _score(self, inputs: Tensor) -> Tensor:
        yes = (inputs @ self.weights).sigmoid()
        return torch.stack([1 - yes, yes], 1)
