"""Rules of layer-wise relevance propagation (Chefer et al. 2021, section 3.1): pure, instance by instance, conserving.

Each takes the relevance of an output and gives that of the inputs, with the same sum an instance. Element-wise layers
(normalisations, activations, softmax, scalings) pass relevance on as it is, as in the authors' program.
"""

import torch
from torch import Tensor

__all__ = ["add_rule", "linear_rule", "mean_rule", "product_rule", "safe_divide"]

EPSILON = 1e-9


def safe_divide(numerator: Tensor, denominator: Tensor) -> Tensor:
    """Numerator / denominator, and 0 where the denominator is (almost) 0."""
    zero = denominator.abs() < EPSILON
    return torch.where(zero, 0.0, numerator / denominator.masked_fill(zero, 1.0))


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
    share = safe_divide(relevance, left @ right) / 2
    return left * (share @ right.transpose(-1, -2)), right * (left.transpose(-1, -2) @ share)


def add_rule(relevance: Tensor, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """Sum of two signals (B, ...): in proportion to each, then normalised.

    The proportions may be huge and opposite where the signals cancel; normalised, each gets a share of the total by
    the absolute value of its sum, so that no more leaves than came.
    """
    share = safe_divide(relevance, left + right)
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
    return tokens * safe_divide(relevance, tokens.sum(1)).unsqueeze(1)
