"""The clipped surrogate of PPO for masks (eq. 20-22), with the joint or the per-feature ratio.

Both are losses: minus the surrogate that eq. 20 maximises.
"""

from torch import Tensor

__all__ = ["clip_fraction", "clipped_surrogate_joint", "clipped_surrogate_per_feature"]


def _clipped(ratio: Tensor, advantage: Tensor, clip_range: float) -> Tensor:
    return (ratio * advantage).minimum(ratio.clamp(1 - clip_range, 1 + clip_range) * advantage)


def clipped_surrogate_joint(
    log_prob: Tensor,
    old_log_prob: Tensor,
    advantage: Tensor,
    clip_range: float,
    valid: Tensor | None = None,  # noqa: ARG001 log-probabilities are 0 there, so their ratios are 1
) -> Tensor:
    """Minus eq. 21: the ratio of the whole mask is clipped.

    Args:
        log_prob: per feature, (B, K, N), nats, with gradient.
        old_log_prob: the same under the policy that drew the masks, without gradient.
        advantage: (B, K), without gradient.
        clip_range: epsilon of eq. 22.
        valid: which entries are features (B, N), bool; the log-probabilities of others are 0. None: all are.

    Returns:
        Loss of each mask, (B, K).
    """
    ratio = (log_prob - old_log_prob).sum(-1).exp()
    return -_clipped(ratio, advantage, clip_range)


def clipped_surrogate_per_feature(
    log_prob: Tensor, old_log_prob: Tensor, advantage: Tensor, clip_range: float, valid: Tensor | None = None
) -> Tensor:
    """Each feature's own ratio is clipped, then summed: same gradient as the joint one while the policy has not moved.

    With many features the joint ratio leaves 1 +- epsilon at once; this one stays informative. Arguments and result
    as in `clipped_surrogate_joint`.
    """
    ratio = (log_prob - old_log_prob).exp()
    each = _clipped(ratio, advantage.unsqueeze(-1), clip_range)
    return -(each if valid is None else each * valid.unsqueeze(1)).sum(-1)


def clip_fraction(log_ratio: Tensor, clip_range: float) -> Tensor:
    """Share of ratios outside 1 +- epsilon; a health sign. Any shape -> scalar."""
    return ((log_ratio.exp() - 1).abs() > clip_range).float().mean()
