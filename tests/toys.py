"""Black boxes with known answers.

All read the mean brightness (over the three channels and the pixels) of each patch of a grid, in [0, 1], and have two
classes: the probability of class 1 is a known function of the brightnesses, class 0 has the rest. On `white` images
with black removal, the brightnesses *are* the mask (1 = kept), so every quantity can be enumerated.
"""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from fex.black_box import BlackBox
from fex.images import PatchGrid, Preprocess

__all__ = ["LinearBox", "PatchBox", "TableBox", "ToyBox", "all_masks", "white"]


def white(count: int, size: int = 8) -> Tensor:
    """White images (count, 3, size, size): every patch has brightness 1."""
    return torch.ones(count, 3, size, size)


def all_masks(num_features: int) -> Tensor:
    """Every mask, (2^N, N), float32; mask number i has feature n kept iff bit n of i is set."""
    numbers = torch.arange(2**num_features)
    return (numbers[:, None] >> torch.arange(num_features) & 1).float()


class ToyBox(BlackBox):
    """Base of the toys: subclasses give `brightness_to_probability`."""

    def __init__(self, grid: PatchGrid, size: int = 8, **options: object) -> None:
        super().__init__(num_classes=2, preprocess=Preprocess(size, size), mean=(0.0, 0.0, 0.0), **options)
        self.grid = grid

    def brightness(self, inputs: Tensor) -> Tensor:
        """Mean brightness of each patch: (B, 3, H, W) -> (B, N)."""
        return self.grid.pool(inputs.float().mean(1))

    @abstractmethod
    def brightness_to_probability(self, brightness: Tensor) -> Tensor:
        """Probability of class 1, (B,), from the brightnesses (B, N)."""

    def _score(self, inputs: Tensor) -> Tensor:
        one = self.brightness_to_probability(self.brightness(inputs))
        return torch.stack([1 - one, one], 1)


class PatchBox(ToyBox):
    """Looks at one patch: class 1 has probability `high` iff that patch is brighter than 0.5, else `low`."""

    def __init__(
        self, grid: PatchGrid, patch: int, *, low: float = 0.05, high: float = 0.95, size: int = 8, **options: object
    ) -> None:
        super().__init__(grid, size, **options)
        self.patch, self.low, self.high = patch, low, high

    def brightness_to_probability(self, brightness: Tensor) -> Tensor:
        return torch.where(brightness[:, self.patch] > 0.5, self.high, self.low)


class LinearBox(ToyBox):
    """Class 1 has probability bias + sum_n weights[n] brightness[n]; its Shapley values are known (`shapley`)."""

    def __init__(
        self, grid: PatchGrid, weights: Sequence[float] | Tensor, bias: float = 0.0, size: int = 8, **options: object
    ) -> None:
        super().__init__(grid, size, **options)
        self.weights, self.bias = torch.as_tensor(weights, dtype=torch.float32), bias
        low, high = bias + self.weights.clamp_max(0).sum(), bias + self.weights.clamp_min(0).sum()
        if len(self.weights) != grid.num_features or low < 0 or high > 1 + 1e-6:
            raise ValueError(f"LinearBox needs {grid.num_features} weights that keep the probability in [0, 1].")

    def brightness_to_probability(self, brightness: Tensor) -> Tensor:
        return self.bias + brightness @ self.weights

    def shapley(self, inputs: Tensor, blank: Tensor) -> Tensor:
        """Exact Shapley values (B, N) of class 1: weights x (brightness of the input - of the blank input)."""
        return self.weights * (self.brightness(inputs) - self.brightness(blank))


class TableBox(ToyBox):
    """Class 1's probability is table[i], where bit n of i says whether patch n is brighter than 0.5; N <= 10."""

    def __init__(self, grid: PatchGrid, table: Sequence[float] | Tensor, size: int = 8, **options: object) -> None:
        super().__init__(grid, size, **options)
        self.table = torch.as_tensor(table, dtype=torch.float32)
        if grid.num_features > 10 or len(self.table) != 2**grid.num_features:
            raise ValueError(f"TableBox needs N <= 10 and a table of 2^N values, got {len(self.table)}.")

    def brightness_to_probability(self, brightness: Tensor) -> Tensor:
        return self.table[((brightness > 0.5).long() << torch.arange(self.grid.num_features)).sum(1)]


def instantiate(parser: Any, config: Any) -> Any:
    """What a parser makes of a config; jsonargparse named it otherwise before 4.52."""
    return (getattr(parser, "instantiate", None) or parser.instantiate_classes)(config)
