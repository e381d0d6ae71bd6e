"""Shapley values as a least-squares problem: the kernel, masks drawn from it, the efficiency constraint.

The Shapley values of a set function v on N features minimise E[(v(m) - v(0) - sum_n m_n phi_n)^2] over masks m with
p(m) proportional to (N - 1) / (C(N, |m|) |m| (N - |m|)), 0 < |m| < N, subject to sum_n phi_n = v(1) - v(0) (Charnes et
al. 1988; Lundberg and Lee 2017).
"""

import torch
from torch import Tensor

__all__ = ["additive_efficiency", "centred", "coalitions", "every_coalition", "size_probabilities"]


def size_probabilities(num_features: int) -> Tensor:
    """Probability of each size k = 1 ... N - 1 under the Shapley kernel: (N - 1,), float64.

    It is proportional to 1 / (k (N - k)); all masks of one size are equally likely.

    Raises:
        ValueError: fewer than two features, which leave no proper subset.
    """
    if num_features < 2:
        raise ValueError(f"Shapley values by sampling need at least 2 features, got {num_features}.")
    sizes = torch.arange(1, num_features, dtype=torch.float64)
    weights = 1 / (sizes * (num_features - sizes))
    return weights / weights.sum()


def coalitions(order: Tensor, size: Tensor) -> Tensor:
    """Masks distributed as the Shapley kernel, from uniform noise.

    Noise (1 - order, 1 - size) gives the complement: `fex.policy.Antithetic` noise is paired sampling (Covert and
    Lee 2021), up to ties of float32.

    Args:
        order: noise (..., N), uniform on [0, 1); the smallest ones are kept.
        size: noise (...), uniform on [0, 1), which decides how many.

    Returns:
        Masks (..., N) of 0 and 1 in the dtype of `order`, with 1 ... N - 1 features kept.
    """
    bounds = size_probabilities(order.shape[-1]).cumsum(0)[:-1].to(order.device)
    kept = torch.searchsorted(bounds, size.double().contiguous(), right=True) + 1
    rank = order.argsort(dim=-1, stable=True).argsort(dim=-1)
    return (rank < kept.unsqueeze(-1)).to(order.dtype)


def every_coalition(num_features: int) -> tuple[Tensor, Tensor]:
    """All proper subsets as masks (2^N - 2, N), float32, with their probabilities (2^N - 2,) under the kernel."""
    numbers = torch.arange(1, 2**num_features - 1)
    masks = (numbers.unsqueeze(1) >> torch.arange(num_features)) & 1
    sizes = masks.sum(1)
    each = size_probabilities(num_features) / torch.bincount(sizes, minlength=num_features)[1:]
    return masks.float(), each[sizes - 1]


def centred(masks: Tensor) -> tuple[Tensor, Tensor]:
    """Masks less their kept share, and that share: (..., N) -> (..., N), (...).

    With phi_n = total / N + psi_n and sum_n psi_n = 0, sum_n m_n phi_n = share * total + sum_n (m_n - share) psi_n:
    the constraint is gone, and the level of psi does not matter.
    """
    share = masks.mean(-1)
    return masks - share.unsqueeze(-1), share


def additive_efficiency(values: Tensor, total: Tensor) -> Tensor:
    """Adds the same to every feature so that they sum to `total`: the projection on the constraint.

    Args:
        values: (..., N).
        total: (...), v(1) - v(0).

    Returns:
        (..., N).
    """
    return values - values.mean(-1, keepdim=True) + (total / values.shape[-1]).unsqueeze(-1)
