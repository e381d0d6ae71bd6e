"""Where the masks' randomness comes from: independent, in antithetic pairs, or alike for neighbours.

Drawn for the global batch by a counter, so that a run does not depend on the number of processes and resumes exactly.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from fex.seeding import RowDraws

__all__ = ["Antithetic", "Correlated", "Independent", "MaskNoise"]


class MaskNoise(ABC):
    """Uniform noise for masks and budgets.

    Attributes:
        paired: whether masks of an instance depend on each other.
        separate: whether the numbers of a mask's features are independent of each other.
        by_rows: whether it takes `RowDraws` and draws by `uniform`, so that each process makes its own rows only;
            others get a generator and are asked for the rows of all processes.
    """

    paired: bool = False
    separate: bool = True
    by_rows: bool = False

    @abstractmethod
    def __call__(
        self, shape: tuple[int, int, int], generator: torch.Generator | RowDraws, grid: tuple[int, int] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Mask noise (B, K, N) and budget noise (B, K), uniform on [0, 1), float32, on the CPU.

        Args:
            shape: (B, K, N).
            generator: where the numbers come from.
            grid: (h, w) with h * w = N, row by row, in which the features lie; None takes (1, N), as of a text.
        """


def uniform(shape: Sequence[int], generator: torch.Generator | RowDraws) -> Tensor:
    """`shape`, float32, uniform on [0, 1)."""
    return generator.rand(*shape) if isinstance(generator, RowDraws) else torch.rand(shape, generator=generator)


class Independent(MaskNoise):
    """Every number on its own."""

    by_rows = True

    def __call__(
        self, shape: tuple[int, int, int], generator: torch.Generator | RowDraws, grid: tuple[int, int] | None = None
    ) -> tuple[Tensor, Tensor]:
        return uniform(shape, generator), uniform(shape[:2], generator)


class Antithetic(MaskNoise):
    """Masks 2j and 2j + 1 take u and 1 - u, for mask and budget alike; an odd last mask stands alone.

    At a uniform policy the two masks are complements. Each mask keeps its own distribution, so estimates that are
    means over masks stay unbiased.
    """

    paired = True
    by_rows = True

    def __call__(
        self, shape: tuple[int, int, int], generator: torch.Generator | RowDraws, grid: tuple[int, int] | None = None
    ) -> tuple[Tensor, Tensor]:
        batch, count, features = shape
        half = (batch, -(-count // 2))
        mask, budget = uniform((*half, features), generator), uniform(half, generator)
        return _with_mirrors(mask, count), _with_mirrors(budget, count)


class Correlated(MaskNoise):
    """Neighbours are kept or removed together (a Gaussian copula): what a box says of scattered holes is mostly noise.

    One length l is drawn a mask (or antithetic pair), Gaussian noise on the grid is smoothed with a kernel of that
    standard deviation, and u = Phi(z). Each z has unit variance exactly, at the borders too, so that each u is uniform
    and each decision keeps its own keep probability lambda_n; decisions d patches apart have underlying correlation
    exp(-d^2 / 4 l^2) (less near borders).

    What it changes: decisions are no longer independent given the policy. `log_prob` is then that of each decision
    alone, the ratio of PPO treats them as if independent, and sum_n w_n lambda_n is still the control variate's exact
    expectation. With `CompatibleControl` the gradient while the policy has not moved is, for each logit z_n,

        E[(c - v - sum_i tau z_i (m_i - r)) (m_n - lambda_n)],

    the normal equations of the least-squares regression of the reward on the masks *as they were drawn*: its zero is
    that regression over tau, whatever the correlations, but no longer the optimum of the entropy-regularised objective
    for independent decisions. Without that control the gradient is E[(c - v) (m_n - lambda_n)] - tau lambda_n
    (1 - lambda_n) z_n, and a feature is paid for what its neighbours do: take `CompatibleControl`. Explorations that
    centre the logits regress under the constraint sum_n z_n = 0, and where neighbours go together a mean effect that
    is not 0 then leaks into the map at the borders, unless the value net sees how much was really kept: take
    `ReferenceBudget`, which shows it.

    Args:
        lengths: in features, >= 0, each as likely as its share of this list; 0 is independent.
        antithetic: draw pairs, as `Antithetic` does; an odd last mask stands alone.

    Raises:
        ValueError: no lengths, or one that is negative or no number.
    """

    separate = False
    by_rows = True

    def __init__(self, lengths: Sequence[float] = (0.0, 1.0, 2.0), *, antithetic: bool = True) -> None:
        self.lengths, self.paired = tuple(float(length) for length in lengths), antithetic
        if not self.lengths or not all(math.isfinite(length) and length >= 0 for length in self.lengths):
            raise ValueError(f"Correlated needs lengths >= 0 (in features), at least one; got {list(lengths)}.")
        self._known: dict[tuple[int, float], Tensor] = {}

    def _smoothing(self, side: int, length: float) -> Tensor:
        """(side, side), float64, rows of norm 1: independent unit normals in, correlated unit normals out."""
        if (side, length) not in self._known:
            places = torch.arange(side, dtype=torch.float64)
            kernel = torch.eye(side, dtype=torch.float64)
            if length > 0:
                kernel = torch.exp(-((places[:, None] - places) ** 2) / (2 * length**2))
            self._known[side, length] = kernel / kernel.norm(dim=1, keepdim=True)
        return self._known[side, length]

    def __call__(
        self, shape: tuple[int, int, int], generator: torch.Generator | RowDraws, grid: tuple[int, int] | None = None
    ) -> tuple[Tensor, Tensor]:
        batch, count, features = shape
        grid = grid or (1, features)
        if grid[0] * grid[1] != features:
            raise ValueError(f"Got a grid of {grid[0]} x {grid[1]} for {features} features: they must agree.")
        drawn = (batch, -(-count // 2) if self.paired else count)
        normal = torch.special.ndtri(uniform((*drawn, *grid), generator).double() + 2**-25)
        budget = uniform(drawn, generator)
        which = (uniform(drawn, generator) * len(self.lengths)).long()
        for number, length in enumerate(self.lengths):
            chosen = which == number
            down, across = (self._smoothing(side, length) for side in grid)
            normal[chosen] = down @ normal[chosen] @ across.T
        mask = torch.special.ndtr(normal).flatten(2).float().clamp_max(_BELOW)
        return (_with_mirrors(mask, count), _with_mirrors(budget, count)) if self.paired else (mask, budget)


_BELOW = 1 - torch.finfo(torch.float32).eps / 2  # the largest float32 below 1


def _with_mirrors(noise: Tensor, count: int) -> Tensor:
    """Noise u (B, ceil(K / 2), ...) -> u, 1 - u, u ... (B, K, ...); 1 - u lies in (0, 1]: `_BELOW` stands for 1."""
    return torch.stack([noise, (1 - noise).clamp_max(_BELOW)], 2).flatten(1, 2)[:, :count]
