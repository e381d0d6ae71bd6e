"""A line of a figure."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from torch import Tensor

__all__ = ["Curve", "shares_curves"]


class Curve(NamedTuple):
    """Points of a figure.

    Attributes:
        x_name: what is on the horizontal axis.
        y_name: what is on the vertical one.
        x: S numbers.
        y: S numbers.
    """

    x_name: str
    y_name: str
    x: list[float]
    y: list[float]


def shares_curves(means: Mapping[str, Tensor], shares: Sequence[float], names: tuple[str, str]) -> dict[str, Curve]:
    """Curves by name, values (S,) over S shares; `names` are those of the two axes."""
    return {name: Curve(*names, list(shares), values.tolist()) for name, values in means.items()}
