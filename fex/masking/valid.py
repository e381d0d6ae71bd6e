"""Means over the features of instances that have different numbers of them."""

from torch import Tensor

__all__ = ["mean_over", "std_over"]


def mean_over(values: Tensor, valid: Tensor | None) -> Tensor:
    """Mean over the last axis, (..., N) -> (...), of the entries where `valid` is True; 0 where none is.

    Args:
        values: float.
        valid: bool, broadcastable to `values`; None takes all.
    """
    if valid is None:
        return values.mean(-1)
    return (values * valid).sum(-1) / valid.sum(-1).clamp_min(1)


def std_over(values: Tensor, valid: Tensor | None) -> Tensor:
    """Standard deviation over the last axis, with n - 1 below; 0 for fewer than two entries. As `mean_over`."""
    if valid is None:
        return values.std(-1)
    centred = (values - mean_over(values, valid).unsqueeze(-1)) * valid
    return (centred.square().sum(-1) / (valid.sum(-1) - 1).clamp_min(1)).sqrt()
