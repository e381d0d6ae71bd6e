"""Fidelity: how well a map predicts the black box's answers to masked copies of this very input."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from fex.metrics.functional.bootstrap import Interval, bootstrap_interval

__all__ = ["Fidelity", "fidelity"]

FEWEST = 4  # queries that tell of a fidelity
ALIKE = 1e-4  # probability; what differs by less is rounding, and foretelling it is no merit


class Fidelity(NamedTuple):
    """Share of the variance of the scores, beyond what the number of removed features explains, that a map predicts.

    1: every answer is foreseen. 0: the map is worth no more than the number of removed features. Negative: less.

    Attributes:
        value: 1 - sum of squared misses by the map / by the number alone; NaN where nothing is left to explain.
        low, high: its 95 % interval, by bootstrap over the complementary pairs of masks.
        queries: answers that it was measured on, each of them predicted from the others.
    """

    value: float
    low: float
    high: float
    queries: int

    @property
    def unknown(self) -> str:
        """Why it is not known, "few" queries or answers that are "alike"; "" where it is."""
        return "" if self.known else "few" if self.queries < FEWEST else "alike"

    @property
    def known(self) -> bool:
        """Whether there was anything to foresee: answers that differ, and enough of them."""
        return not math.isnan(self.value)

    def to_dict(self) -> dict[str, float | int | None]:
        """Plain data; None where nothing is known, since JSON has no NaN."""
        numbers = {"value": self.value, "low": self.low, "high": self.high}
        return {**{key: float(f"{x:.4g}") if self.known else None for key, x in numbers.items()},
                "queries": self.queries}  # fmt: skip

    def __str__(self) -> str:
        if not self.known:
            few = f"{self.queries} queries, and it takes {FEWEST} at least"
            return f"fidelity unknown ({few if self.unknown == 'few' else f'all {self.queries:,} answers alike'})"
        return f"fidelity {self.value:.2f} [{self.low:.2f}, {self.high:.2f}], {self.queries:,} queries"


def fidelity(scores: Tensor, predicted: Tensor, by_count: Tensor, *, seed: int = 0) -> Fidelity:
    """Of one input.

    Args:
        scores: the box's answers (K,).
        predicted: the same as the map foresees them, each from the other answers (K,).
        by_count: the same as the number of removed features foresees them (K,).
        seed: of the bootstrap.

    Raises:
        ValueError: shapes that differ.
    """
    if not scores.shape == predicted.shape == by_count.shape or scores.ndim != 1:
        raise ValueError(
            f"Got shapes {tuple(scores.shape)}, {tuple(predicted.shape)}, {tuple(by_count.shape)}, expected (K,) each."
        )
    misses = torch.stack([(scores - predicted).square(), (scores - by_count).square()], 1).double()
    count = len(scores)
    alike = count == 0 or float(scores.max() - scores.min()) < ALIKE
    if count < FEWEST or alike or float(misses[:, 1].mean()) < ALIKE**2:
        return Fidelity(float("nan"), float("nan"), float("nan"), count)
    pairs = misses[: count // 2 * 2].unflatten(0, (-1, 2)).sum(1)
    if count % 2:
        pairs = torch.cat([pairs, misses[-1:]])
    found: Interval = bootstrap_interval(
        pairs, statistic=lambda means: 1 - means[..., 0] / means[..., 1].clamp_min(1e-300), resamples=2000, seed=seed
    )
    return Fidelity(found.value, found.low, found.high, count)
