"""Where the masks' randomness comes from: independent, or antithetic pairs.

Drawn for the global batch by a counter, so that a run does not depend on the number of processes and resumes exactly.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

__all__ = ["Antithetic", "Independent", "Noise"]


class Noise(ABC):
    """Uniform noise for masks and budgets."""

    @abstractmethod
    def __call__(self, shape: tuple[int, int, int], generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """For shape (B, K, N): mask noise (B, K, N) and budget noise (B, K), uniform on [0, 1), on the CPU."""


class Independent(Noise):
    """Every number on its own."""

    def __call__(self, shape: tuple[int, int, int], generator: torch.Generator) -> tuple[Tensor, Tensor]:
        return torch.rand(shape, generator=generator), torch.rand(shape[:2], generator=generator)


class Antithetic(Noise):
    """Masks 2j and 2j + 1 take u and 1 - u, for mask and budget alike; an odd last mask stands alone.

    At a uniform policy the two masks are complements. Each mask keeps its own distribution, so estimates that are
    means over masks stay unbiased.
    """

    def __call__(self, shape: tuple[int, int, int], generator: torch.Generator) -> tuple[Tensor, Tensor]:
        batch, count, features = shape
        half = (batch, -(-count // 2))
        mask = torch.rand(*half, features, generator=generator)
        budget = torch.rand(half, generator=generator)
        # 1 - u lies in (0, 1]; the largest float below 1 stands for 1.
        below = 1 - torch.finfo(mask.dtype).eps / 2
        masks = torch.stack([mask, (1 - mask).clamp_max(below)], 2).flatten(1, 2)[:, :count]
        budgets = torch.stack([budget, (1 - budget).clamp_max(below)], 2).flatten(1, 2)[:, :count]
        return masks, budgets
