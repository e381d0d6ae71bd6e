"""A line of a figure."""

from typing import NamedTuple

__all__ = ["Curve"]


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
