"""The value net's loss (eq. 19) and how well it explains the rewards."""

from torch import Tensor

from fex.masking.valid import mean_over

__all__ = ["explained_variance", "value_loss"]


def value_loss(values: Tensor, rewards: Tensor, there: Tensor | None = None) -> Tensor:
    """Eq. 19: mean over the K masks of (c - v)^2, (B, K) and (B, K) -> (B,); only masks that are `there` (B, K)."""
    return mean_over((rewards - values).square(), there)


def explained_variance(values: Tensor, rewards: Tensor) -> Tensor:
    """1 - Var(c - v) / Var(c) over all entries: 1 is perfect, 0 a constant, negative worse than a constant.

    Fewer than two entries have no variance, and 0.
    """
    if rewards.numel() < 2:
        return rewards.new_zeros(())
    return 1 - (rewards - values).var() / rewards.var().clamp_min(1e-12)
