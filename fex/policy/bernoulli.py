"""The mask policy: N independent Bernoullis given by logits (eq. 7).

Log-probabilities come from logits, never from clamped probabilities.
"""

from torch import Tensor
from torch.nn import functional as F

__all__ = ["approximate_kl", "log_prob", "relative_entropy", "sample"]


def sample(logits: Tensor, uniform: Tensor) -> Tensor:
    """Masks from uniform noise: 1 where the noise is below the keep probability.

    Args:
        logits: (..., N), log-odds of keeping.
        uniform: (..., N) in [0, 1).

    Returns:
        Masks (..., N) of 0 and 1, in the dtype of `logits`, without gradient.
    """
    return (uniform < logits.detach().sigmoid()).to(logits.dtype)


def log_prob(logits: Tensor, masks: Tensor) -> Tensor:
    """Log-probability of each feature's decision in nats, (..., N); the joint one is its sum over N."""
    return -F.binary_cross_entropy_with_logits(logits, masks, reduction="none")


def relative_entropy(logits: Tensor, reference: Tensor) -> Tensor:
    """KL(Bern(logits) || Bern(reference)) in nats, summed over features.

    With a reference of 0 this is N log 2 - H(q), H(q) the entropy of eq. 23: to minimise it is to maximise that.

    Args:
        logits: (..., N).
        reference: broadcastable to `logits`.

    Returns:
        (...), non-negative.
    """
    kept = logits.sigmoid() * (logits - reference)
    return (kept - F.softplus(logits) + F.softplus(reference)).sum(-1)


def approximate_kl(log_ratio: Tensor) -> Tensor:
    """Low-variance estimate of KL(old || new) from the joint log-ratio (Schulman 2020), elementwise, in nats."""
    return log_ratio.exp() - 1 - log_ratio
