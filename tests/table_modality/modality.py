"""How rows are read and explained; defining `TableModality` makes it known."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from fex.explanations import BaseExplanation
from fex.modality import Features, Modality, Reading
from tests.table_modality.columns import Columns, TypicalRow
from tests.table_modality.encoder import ColumnEncoder

__all__ = ["TableExplanation", "TableModality"]


@dataclass(frozen=True, eq=False)
class TableExplanation(BaseExplanation):
    """Attribution of the columns of one row."""

    columns: tuple[str, ...]
    values: Tensor = field(repr=False)

    suffixes: ClassVar[tuple[str, ...]] = (".json",)

    def __post_init__(self) -> None:
        self._own("values", self.values)

    @property
    def shown(self) -> np.ndarray:
        return self.values.numpy()

    def to_dict(self) -> dict[str, Any]:
        return {**self._meta(), "columns": dict(zip(self.columns, self.values.tolist(), strict=True))}

    def _encoded(self, suffix: str) -> bytes:
        raise NotImplementedError(suffix)


class TableReading(Reading):
    """Rows, all in one pass."""

    def __init__(self, inputs: Tensor, columns: tuple[str, ...]) -> None:
        super().__init__([""] * len(inputs), inputs)
        self.columns = columns

    def result(self, number: int, values: Sequence[Tensor], features: Features, named: Mapping[str, Any]) -> Any:
        return TableExplanation(self.columns, values[0], **named)


class TableModality(Modality):
    """Rows of numbers (B, N), float32; users give dicts of columns, one or a list, or a tensor."""

    name = "table"
    encoders = (ColumnEncoder,)

    def preprocess(self, data: Mapping[str, Any]) -> TypicalRow:
        return TypicalRow(tuple(data["names"]), tuple(data["typical"]))

    def features(self, meta: Mapping[str, Any]) -> Columns:
        return Columns(len(meta["preprocess"]["names"]))

    def of_inputs(self, inputs: Tensor, preprocess: TypicalRow) -> Columns:
        return Columns(inputs.shape[1])

    def read(self, given: Any, preprocess: TypicalRow) -> TableReading:
        rows = [given] if isinstance(given, Mapping) else given
        if not isinstance(rows, Tensor):
            rows = torch.tensor([[float(row[name]) for name in preprocess.names] for row in rows])
        return TableReading(rows, preprocess.names)

    def check(self, inputs: Tensor, preprocess: TypicalRow) -> None:
        if inputs.ndim != 2 or inputs.shape[1] != len(preprocess.names):
            raise ValueError(f"Got rows of shape {tuple(inputs.shape)}, expected (B, {len(preprocess.names)}).")
