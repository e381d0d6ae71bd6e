"""Losses of DAX (paper, eq. 7 to 12), for several instances at once: rows are samples, columns are instances."""

import torch
from torch import Tensor

__all__ = ["distillation", "histogram_kl", "soft_histogram"]


def distillation(scores: Tensor, predicted: Tensor, weights: Tensor) -> Tensor:
    """gamma-weighted squared error of the student (eq. 8): three times (b, I) -> (I,)."""
    return (weights * (scores - predicted).square()).mean(0)


def soft_histogram(values: Tensor, bins: int = 10) -> Tensor:
    """Differentiable histogram over [0, 1] of each column, by Gaussian kernels as wide as half a bin.

    Args:
        values: (b, I), float in [0, 1].
        bins: number of bins.

    Returns:
        (bins, I), each column summing to 1.

    Raises:
        ValueError: fewer than 2 bins.
    """
    if bins < 2:
        raise ValueError(f"Got {bins} bins, expected at least 2.")
    centres = (torch.arange(bins, device=values.device, dtype=values.dtype) + 0.5) / bins
    # Normalised a value, so that one near the end of the range counts as much as one in its middle.
    near = torch.softmax(-0.5 * ((values[None] - centres[:, None, None]) * 2 * bins).square(), dim=0)
    return near.mean(1)


def histogram_kl(scores: Tensor, predicted: Tensor, bins: int = 10) -> Tensor:
    """KL(q of the scores || q of the predictions) of a batch's histograms, in nats: twice (b, I) -> (I,).

    Example:
        >>> import torch
        >>> histogram_kl(torch.tensor([[0.2], [0.9]]), torch.tensor([[0.9], [0.2]]))
        tensor([0.])
    """
    floor = torch.finfo(scores.dtype).eps
    p, q = soft_histogram(scores, bins).clamp(min=floor), soft_histogram(predicted, bins).clamp(min=floor)
    p, q = p / p.sum(0), q / q.sum(0)
    return (p * (p.log() - q.log())).sum(0)
