"""Whether an attribution says anything: how much its values differ, against how much they could."""

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["FLAT", "contrast", "is_flat", "painted_span"]

FLAT = 0.05  # of the scale: below, a map says little (of 872 sentences of SST-2 the shipped explainer gives 4 % such)


def _scale(values: np.ndarray, span: float | None) -> float:
    """What differences are held against: their largest possible, or the largest value where that is not known."""
    return span if span is not None else float(np.abs(values).max(initial=0.0))


def contrast(values: ArrayLike, span: float | None = None) -> float:
    """(largest - smallest value) / scale, in [0, 1] or, of signed values without `span`, up to 2; 0 of equal values.

    Args:
        values: attribution, any shape.
        span: largest difference that two values can have, such as 1 of probabilities; None takes the largest absolute
            value as the scale, which leaves maps that start at 0 or have both signs their full contrast.

    Example:
        >>> round(contrast([0.38, 0.39], span=1), 3), contrast([0.0, 1e-6]), contrast([0.0, 0.0])
        (0.01, 1.0, 0.0)
    """
    array = np.asarray(values, dtype=np.float64)
    scale = _scale(array, span)
    return float(array.max() - array.min()) / scale if array.size and scale > 0 else 0.0


def is_flat(values: ArrayLike, span: float | None = None) -> bool:
    """Whether the values hardly differ, so that their order says little; arguments as of `contrast`."""
    return contrast(values, span) < FLAT


def painted_span(values: ArrayLike, span: float | None = None) -> float:
    """The difference that is painted from the first to the last colour: that of the values, or twice `FLAT` if less.

    So what is flat uses at most half of the colours, and noise next to none. Arguments as of `contrast`.
    """
    array = np.asarray(values, dtype=np.float64)
    return max(float(array.max() - array.min()), 2 * FLAT * _scale(array, span))
