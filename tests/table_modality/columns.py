"""The columns of a table as features, and what stands in for a removed one. Inputs are rows (B, N), float32."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from fex.modality import Features, Removal

__all__ = ["Columns", "Typical", "TypicalRow"]


class Typical(Removal):
    """The column's typical value, which the black box tells."""

    name = "typical value"
    modality = "table"

    def __call__(self, inputs: Tensor, mean: Tensor) -> Tensor:
        return mean.to(inputs).unsqueeze(0)


@dataclass(frozen=True)
class Columns(Features):
    """Each of N columns is a feature."""

    num_features: int

    modality: ClassVar[str] = "table"
    removals: ClassVar[str] = "Typical"

    def keep(self, masks: Tensor, inputs: Tensor) -> Tensor:
        return masks.to(inputs.dtype)

    def on_inputs(self, values: Tensor, inputs: Tensor) -> Tensor:
        return values

    def pool(self, values: Tensor) -> Tensor:
        return values

    def usual_removal(self) -> Typical:
        return Typical()

    def describe(self) -> str:
        return "columns"


@dataclass(frozen=True)
class TypicalRow:
    """How rows are read: names of the columns, in order, and the typical value of each."""

    names: tuple[str, ...]
    typical: tuple[float, ...]

    def to_dict(self) -> dict[str, list]:
        return {"names": list(self.names), "typical": list(self.typical)}
