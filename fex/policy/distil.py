"""What a student's maps lack of its teacher's."""

from torch import Tensor

from fex.masking.valid import mean_over

__all__ = ["as_logits", "map_loss"]

LEAST = 1e-6  # of a keep probability before its logit
LEVEL = 0.1  # weight of the mean of a map beside its shape, in which alone features are ranked
FLOOR = 0.05  # share of a class that the teacher finds impossible


def as_logits(rates: Tensor) -> Tensor:
    """Keep probabilities -> logits, float32, at most 14 away from 0.

    Example:
        >>> import torch
        >>> as_logits(torch.tensor([0.5, 1.0]))
        tensor([ 0.0000, 13.8023])
    """
    return rates.clamp(LEAST, 1 - LEAST).logit()


def map_loss(student: Tensor, teacher: Tensor, probabilities: Tensor, valid: Tensor | None = None) -> Tensor:
    """sum_k w_k (variance_n(s - t) + 0.1 mean_n(s - t)^2), with w_k = (p_k + 0.05) / 2.

    Squares of logits and no divergence of the keep probabilities: where these are near 0 or 1 a divergence hardly sees
    in which order features come, which is all that a ranking asks. A likely class counts more than an unlikely one.

    Args:
        student: logits of K classes (B, K, N).
        teacher: logits of the same classes (B, K, N).
        probabilities: what the teacher says of these classes (B, K).
        valid: which entries are features (B, N); None where all are.

    Returns:
        (B,), squared nats.
    """
    there = None if valid is None else valid.unsqueeze(1)
    apart = student - teacher
    level = mean_over(apart, there)
    shape = mean_over((apart - level.unsqueeze(-1)).square(), there)
    return (0.5 * (probabilities + FLOOR) * (shape + LEVEL * level.square())).sum(1)
