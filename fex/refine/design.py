"""Which masks a refinement asks about: complementary pairs at evenly spread budgets, on grids of several smoothnesses.

A sequence: the first K masks are the same whatever number follows, and depend on the instance's own seed alone.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["SMOOTH", "refinement_masks"]

REACH = 3.0  # largest log-odds of keeping, as in training
SMOOTH = (0.0, 1.0)  # standard deviations, in features, over which neighbours go together; in turn


def _noise(count: int, grid: tuple[int, int] | None, width: float, generator: torch.Generator) -> Tensor:
    """Uniform noise (N,) on [0, 1) whose neighbours are alike over `width` features; independent at 0.

    Each number alone is uniform (a Gaussian copula), so a mask keeps its budget on average whatever the width.
    """
    if width == 0 or grid is None:
        return torch.rand(count, generator=generator, dtype=torch.float64)
    reach = math.ceil(3 * width)
    kernel = (-torch.arange(-reach, reach + 1, dtype=torch.float64).square() / (2 * width**2)).exp()
    kernel = kernel / kernel.square().sum().sqrt()  # sums of independent normals keep variance 1
    field = torch.randn(grid[0] + 2 * reach, grid[1] + 2 * reach, generator=generator, dtype=torch.float64)
    field = F.conv2d(field[None, None], kernel.view(1, 1, -1, 1))
    return torch.special.ndtr(F.conv2d(field, kernel.view(1, 1, 1, -1))).flatten()


def refinement_masks(count: int, grid: tuple[int, int] | None, first: int, last: int, seed: int) -> Tensor:
    """Masks number `first` ... `last` - 1 of one instance.

    Args:
        count: N features.
        grid: (height, width) where they are a grid.
        first: number of the first mask.
        last: behind the last one.
        seed: of the instance.

    Returns:
        Bool (last - first, N), 1 = kept; masks 2j and 2j + 1 are complements.
    """
    pairs = []
    for pair in range(first // 2, -(-last // 2)):
        generator = torch.Generator().manual_seed((seed * 1_000_003 + pair) % 2**63)
        # Multiples of the golden ratio cover the budgets evenly at any time.
        budget = REACH * ((pair + 0.5) * (5**0.5 - 1) / 2 % 1)
        noise = _noise(count, grid, SMOOTH[pair % len(SMOOTH)], generator)
        kept = noise < 1 / (1 + math.exp(-budget))
        pairs += [kept, ~kept]
    start = first - first // 2 * 2
    return torch.stack(pairs)[start : start + last - first] if last > first else torch.zeros(0, count, dtype=torch.bool)
