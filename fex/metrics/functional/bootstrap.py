"""Percentile bootstrap over instances."""

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

__all__ = ["Interval", "bootstrap_interval", "paired_difference"]

CHUNK = 2**22  # numbers drawn at once, so that 10,000 resamples of any data set fit into memory
KEPT = 2**26  # numbers of draws that are kept for the next interval, in 2 bytes each


class Interval(NamedTuple):
    """A value and its interval."""

    value: float
    low: float
    high: float


def bootstrap_interval(
    values: Tensor,
    *,
    statistic: Callable[[Tensor], Tensor] | None = None,
    level: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> Interval:
    """Percentile interval of a mean, or of a function of means, over resampled instances.

    Args:
        values: (n,) or (n, D), one row an instance.
        statistic: maps means (..., D), or (...) for one value a row, to (...); the mean itself by default. A ratio
            of sums, such as IoU over a data set, is a function of means.
        level: coverage.
        resamples: bootstrap samples.
        seed: seed of the resampling; the same for all methods, so that intervals can be compared.

    Returns:
        The statistic of `values` with its bounds.

    Raises:
        ValueError: no instances, NaN, a level outside (0, 1), or no resamples.

    Example:
        >>> bootstrap_interval(torch.ones(10))
        Interval(value=1.0, low=1.0, high=1.0)
    """
    statistic = statistic or _identity
    if values.ndim not in (1, 2) or len(values) < 1:
        raise ValueError(f"Got values of shape {tuple(values.shape)}, expected (n,) or (n, D) with n >= 1 instances.")
    if not 0 < level < 1 or resamples < 1:
        raise ValueError(f"Got level={level} and resamples={resamples}, expected 0 < level < 1 and resamples >= 1.")
    values = values.detach().cpu().double()
    flat = values.view(len(values), -1)
    if bool(values.isnan().any()):
        raise ValueError("Got NaN values: leave out instances that have none, and say how many are left.")
    count = len(values)
    draws = _kept_draws if count * resamples <= KEPT else _draws
    drawn = [
        statistic((times.double() @ flat / count).view(-1, *values.shape[1:]))
        for times in draws(count, resamples, seed)
    ]
    tail = (1 - level) / 2
    bounds = torch.cat(drawn).double().quantile(torch.tensor([tail, 1 - tail], dtype=torch.float64))
    return Interval(float(statistic(values.mean(0))), float(bounds[0]), float(bounds[1]))


def paired_difference(
    a: Tensor, b: Tensor, *, statistic: Callable[[Tensor], Tensor] | None = None, **options: Any
) -> Interval:
    """Statistic of `a` minus that of `b` over the same resampled instances.

    Args:
        a: (n,) or (n, D); row i is the same instance as row i of `b`.
        b: same shape.
        statistic: as in `bootstrap_interval`.
        **options: level, resamples and seed, as there.

    Returns:
        The difference with its bounds; it is significant where they are on one side of 0.

    Raises:
        ValueError: shapes that differ, or as in `bootstrap_interval`.
    """
    if a.shape != b.shape:
        raise ValueError(
            f"Got {tuple(a.shape)} and {tuple(b.shape)}: a paired difference needs the same instances for both."
        )
    function = statistic or _identity
    columns = 1 if a.ndim == 1 else a.shape[1]

    def difference(means: Tensor) -> Tensor:
        left, right = means.split(columns, -1)
        return function(left.squeeze(-1) if a.ndim == 1 else left) - function(
            right.squeeze(-1) if a.ndim == 1 else right
        )

    both = torch.cat([a.view(len(a), -1), b.view(len(b), -1)], 1)
    return bootstrap_interval(both, statistic=difference, **options)


def _identity(means: Tensor) -> Tensor:
    return means


def _draws(count: int, resamples: int, seed: int) -> Iterator[Tensor]:
    """How often each instance is drawn in each resample, some resamples at a time: (k, count), float64."""
    generator = torch.Generator().manual_seed(seed)
    step = max(1, CHUNK // count)
    for start in range(0, resamples, step):
        picks = torch.randint(count, (min(step, resamples - start), count), generator=generator)
        # As counts, and not as picked rows: the means of all columns are then one product.
        times = torch.zeros(picks.shape, dtype=torch.float64)
        yield times.scatter_add_(1, picks, torch.ones_like(times))


@lru_cache(maxsize=1)
def _kept_draws(count: int, resamples: int, seed: int) -> list[Tensor]:
    """The same in int16, kept: a table takes hundreds of intervals over the same instances and seed."""
    return [times.to(torch.int16) for times in _draws(count, resamples, seed)]
