"""Max-sensitivity: how much an explanation changes when the input hardly does."""

import torch
from torch import Tensor

__all__ = ["largest_relative_change"]


def largest_relative_change(scores: Tensor, changed: Tensor) -> Tensor:
    """max_k ||changed_k - scores|| / ||scores||, in the Euclidean norm.

    Source: Yeh et al. 2019, definition 3.1, as their experiments use it: divided by the norm of the explanation.

    Args:
        scores: attributions of the inputs (B, N).
        changed: those of K inputs near each (B, K, N).

    Returns:
        (B,), float32, >= 0; NaN where an attribution is 0 everywhere: it has no scale.

    Raises:
        ValueError: shapes that do not fit.

    Example:
        >>> largest_relative_change(torch.tensor([[3.0, 4.0]]), torch.tensor([[[3.0, 4.0], [3.0, 3.0]]]))
        tensor([0.2000])
    """
    if changed.ndim != 3 or changed.shape[1] < 1 or scores.shape != (changed.shape[0], changed.shape[2]):
        raise ValueError(
            f"Got scores of shape {tuple(scores.shape)} and {tuple(changed.shape)} near them, expected (B, N) and "
            "(B, K, N)."
        )
    original = scores.double()
    change = (changed.double() - original[:, None]).norm(dim=2).amax(1)
    size = original.norm(dim=1)
    return torch.where(size > 0, change / size, torch.nan).float()
