"""What every modality hands in: its features, and what stands in for a removed one. All else works with these alone."""

from abc import ABC, abstractmethod
from typing import ClassVar, Protocol

import torch
from torch import Tensor

__all__ = ["Features", "Removal"]


class Features(Protocol):
    """What every kind of features tells: how many there are in an input, and where.

    Attributes:
        modality: "image" or "text".
        num_features: the largest N.
        grid: (height, width) where the features are a grid, else None.
    """

    modality: ClassVar[str]

    @property
    def num_features(self) -> int: ...

    @property
    def grid(self) -> tuple[int, int] | None: ...

    def count(self, inputs: Tensor) -> int:
        """N of these inputs."""
        ...

    def valid(self, inputs: Tensor) -> Tensor | None:
        """Which entries of (B, N) are features of the instance, bool; None where all are."""
        ...

    def keep(self, masks: Tensor, inputs: Tensor) -> Tensor:
        """Masks (R, N) of inputs (R, ...), broadcastable against the inputs."""
        ...

    def on_inputs(self, values: Tensor, inputs: Tensor) -> Tensor:
        """Values (B, N) on the pixels or tokens of the inputs that they belong to."""
        ...

    def maps(self, values: Tensor, inputs: Tensor) -> Tensor:
        """The same, smooth where there is a between."""
        ...

    def pool(self, values: Tensor) -> Tensor:
        """Values of pixels or tokens as means of features (B, N)."""
        ...

    def seeds(self, inputs: Tensor, seed: int) -> list[int]:
        """A seed for each instance, from its content and `seed` alone, whatever batch it comes in."""
        ...

    def describe(self) -> str:
        """How tables call the unit."""
        ...


class Removal(ABC):
    """Fill for removed features.

    Attributes:
        name: the word by which results name the removal.
        constant: True when the blank input does not depend on the instance; it is then one query for all.
        modality: kind of features that can be removed so.
    """

    name: str
    constant: bool = True
    modality: str = "image"

    @abstractmethod
    def __call__(self, inputs: Tensor, mean: Tensor) -> Tensor:
        """Fill for `inputs` (B, ...); `mean` is the black box's `neutral`: its mean colour (3,), for a text its tokens.

        Returns:
            A tensor that broadcasts against `inputs`.
        """

    def place(self, inputs: Tensor, fill: Tensor, keep: Tensor) -> Tensor:
        """Inputs where `keep` is 1, the fill where it is 0; values between mix. Shapes broadcast to the inputs'."""
        return torch.lerp(fill.expand_as(inputs), inputs, keep)

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"
