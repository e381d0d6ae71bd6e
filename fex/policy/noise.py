"""Where the masks' randomness comes from: independent, or antithetic pairs.

Drawn for the global batch by a counter, so that a run does not depend on the number of processes and resumes exactly.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from fex.seeding import RowDraws

__all__ = ["Antithetic", "Independent", "Noise"]


class Noise(ABC):
    """Uniform noise for masks and budgets.

    Attributes:
        by_rows: whether it takes `RowDraws` and draws by `uniform`, so that each process makes its own rows only;
            others get a generator and are asked for the rows of all processes.
    """

    by_rows: bool = False

    @abstractmethod
    def __call__(self, shape: tuple[int, int, int], generator: torch.Generator | RowDraws) -> tuple[Tensor, Tensor]:
        """For shape (B, K, N): mask noise (B, K, N) and budget noise (B, K), uniform on [0, 1), on the CPU."""


def uniform(shape: Sequence[int], generator: torch.Generator | RowDraws) -> Tensor:
    """`shape`, float32, uniform on [0, 1)."""
    return generator.rand(*shape) if isinstance(generator, RowDraws) else torch.rand(shape, generator=generator)


class Independent(Noise):
    """Every number on its own."""

    by_rows = True

    def __call__(self, shape: tuple[int, int, int], generator: torch.Generator | RowDraws) -> tuple[Tensor, Tensor]:
        return uniform(shape, generator), uniform(shape[:2], generator)


class Antithetic(Noise):
    """Masks 2j and 2j + 1 take u and 1 - u, for mask and budget alike; an odd last mask stands alone.

    At a uniform policy the two masks are complements. Each mask keeps its own distribution, so estimates that are
    means over masks stay unbiased.
    """

    by_rows = True

    def __call__(self, shape: tuple[int, int, int], generator: torch.Generator | RowDraws) -> tuple[Tensor, Tensor]:
        batch, count, features = shape
        half = (batch, -(-count // 2))
        mask, budget = uniform((*half, features), generator), uniform(half, generator)
        # 1 - u lies in (0, 1]; the largest float below 1 stands for 1.
        below = 1 - torch.finfo(mask.dtype).eps / 2
        masks = torch.stack([mask, (1 - mask).clamp_max(below)], 2).flatten(1, 2)[:, :count]
        budgets = torch.stack([budget, (1 - budget).clamp_max(below)], 2).flatten(1, 2)[:, :count]
        return masks, budgets
