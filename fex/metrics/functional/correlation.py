"""How alike the attributions of two classes of one image are: an explainer that ignores the class gives 1."""

from typing import Literal

import torch
from torch import Tensor

__all__ = ["average_ranks", "class_correlation"]


def average_ranks(values: Tensor) -> Tensor:
    """Ranks 1 ... N of each row, ties sharing their mean rank: (B, N) -> (B, N), float64."""
    values = values.contiguous()
    ranked = values.sort(1).values
    below = torch.searchsorted(ranked, values)
    up_to = torch.searchsorted(ranked, values, right=True)
    return (below + up_to + 1).double() / 2


def class_correlation(a: Tensor, b: Tensor, *, kind: Literal["pearson", "spearman"] = "spearman") -> Tensor:
    """Correlation, over the features of each instance, of the attributions of two classes.

    Args:
        a: attributions (B, N) of one class, float.
        b: those of another class, float.
        kind: "spearman" correlates ranks, "pearson" values.

    Returns:
        (B,), float32 in [-1, 1]; NaN where one of the two is constant: it has no order to compare.

    Raises:
        ValueError: shapes that differ, or an unknown kind.

    Example:
        >>> class_correlation(torch.tensor([[1.0, 2.0, 9.0]]), torch.tensor([[3.0, 2.0, 1.0]]))
        tensor([-1.])
    """
    if a.shape != b.shape or a.ndim != 2:
        raise ValueError(f"Got attributions of shape {tuple(a.shape)} and {tuple(b.shape)}, expected (B, N) twice.")
    if kind not in ("pearson", "spearman"):
        raise ValueError(f"Got kind {kind!r}, expected 'pearson' or 'spearman'.")
    x, y = (average_ranks(v.float()) if kind == "spearman" else v.double() for v in (a, b))
    constant = (a == a[:, :1]).all(1) | (b == b[:, :1]).all(1)
    x, y = x - x.mean(1, keepdim=True), y - y.mean(1, keepdim=True)
    correlation = (x * y).sum(1) / (x.square().sum(1) * y.square().sum(1)).sqrt()
    return correlation.clamp(-1, 1).where(~constant, torch.nan).float()
