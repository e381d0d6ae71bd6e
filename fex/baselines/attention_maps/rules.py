"""Rules of layer-wise relevance propagation (Chefer et al. 2021, section 3.1): pure, instance by instance, conserving.

Each takes the relevance of an output and gives that of the inputs, with the same sum an instance, but for what
`stable_divide` absorbs where signed terms cancel. Element-wise layers (normalisations, activations, softmax, scalings)
pass relevance on as it is, as in the authors' program.
"""

import torch
from torch import Tensor

__all__ = ["add_rule", "linear_rule", "mean_rule", "product_rule", "safe_divide", "stable_divide"]

EPSILON = 1e-9
STABILISER = 1e-3  # share of the terms' size below which their sum counts as nearly cancelled


def safe_divide(numerator: Tensor, denominator: Tensor) -> Tensor:
    """Numerator / denominator, and 0 where the denominator is (almost) 0."""
    zero = denominator.abs() < EPSILON
    return torch.where(zero, 0.0, numerator / denominator.masked_fill(zero, 1.0))


def stable_divide(relevance: Tensor, total: Tensor, size: Tensor) -> Tensor:
    """Relevance / total, the sum of signed terms, bounded and continuous where they cancel.

    The epsilon rule of relevance propagation (Bach et al. 2015) with epsilon in units of the terms: where
    |total| < epsilon size, 1 / total becomes total / (epsilon size)^2, which goes through 0 with it and keeps its sign.
    With the authors' epsilon of 1e-9 a single sum that nearly cancels takes all relevance of a layer, and an input
    that differs by 1e-7 gets another map.

    Args:
        relevance: of the sums.
        total: the sums.
        size: sums of the terms' absolute values.
    """
    ratio = safe_divide(total, size)
    return safe_divide(relevance, size) * ratio / ratio.abs().clamp_min(STABILISER).square()


def linear_rule(relevance: Tensor, inputs: Tensor, weight: Tensor) -> Tensor:
    """Linear layer, only contributions that raise the output (the z+ rule): (..., O) -> (..., I).

    R_i = sum_o (x_i w_oi)^+ / (sum_j (x_j w_oj)^+) R_o; the bias takes no relevance.

    Args:
        relevance: of the outputs (..., O).
        inputs: x (..., I).
        weight: w (O, I).
    """
    positive, negative = inputs.clamp_min(0), inputs.clamp_max(0)
    raising, lowering = weight.clamp_min(0), weight.clamp_max(0)
    share = safe_divide(relevance, positive @ raising.T + negative @ lowering.T)
    return positive * (share @ raising) + negative * (share @ lowering)


def product_rule(relevance: Tensor, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """Matrix product left @ right of two signals, half of the relevance to each.

    Args:
        relevance: of the product (..., n, m).
        left: (..., n, k).
        right: (..., k, m).
    """
    share = stable_divide(relevance, left @ right, left.abs() @ right.abs()) / 2
    return left * (share @ right.transpose(-1, -2)), right * (left.transpose(-1, -2) @ share)


def add_rule(relevance: Tensor, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """Sum of two signals (B, ...): in proportion to each, then normalised.

    The proportions may be large and opposite where the signals cancel; normalised, each gets a share of the total by
    the absolute value of its sum, so that no more leaves than came.
    """
    share = stable_divide(relevance, left + right, left.abs() + right.abs())
    parts = left * share, right * share
    axes = tuple(range(1, relevance.ndim))
    sums = [part.sum(axes, keepdim=True) for part in parts]
    total, size = relevance.sum(axes, keepdim=True), sums[0].abs() + sums[1].abs()
    first, second = (
        part * safe_divide(safe_divide(own.abs(), size) * total, own) for part, own in zip(parts, sums, strict=True)
    )
    return first, second


def mean_rule(relevance: Tensor, tokens: Tensor) -> Tensor:
    """Mean over tokens, in proportion to each: relevance (B, D), tokens (B, L, D) -> (B, L, D)."""
    return tokens * stable_divide(relevance, tokens.sum(1), tokens.abs().sum(1)).unsqueeze(1)
