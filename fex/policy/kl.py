"""Alignment of the explainer's own classes with the black box's (eq. 24), in both directions.

Exclusive classes are one distribution; those of a multi-label box are one coin each, whose divergences add up.
"""

from torch import Tensor
from torch.nn import functional as F

__all__ = [
    "kl_black_box_to_explainer",
    "kl_explainer_to_black_box",
    "label_kl_black_box_to_explainer",
    "label_kl_explainer_to_black_box",
]

FLOOR = 1e-12  # of a probability before its logarithm


def kl_black_box_to_explainer(log_rates: Tensor, probabilities: Tensor) -> Tensor:
    """KL(f || softmax(mean_n log g)), the default: cross-entropy to the black box, minus its entropy.

    Args:
        log_rates: mean over features of log g for each class, (B, C), nats.
        probabilities: f(x), (B, C).

    Returns:
        (B,), nats, non-negative.
    """
    log_q = log_rates.log_softmax(1)
    log_f = probabilities.clamp_min(FLOOR).log()
    return (probabilities * (log_f - log_q)).sum(1)


def kl_explainer_to_black_box(log_rates: Tensor, probabilities: Tensor) -> Tensor:
    """KL(softmax(mean_n log g) || f), as eq. 24 is printed. Arguments and result as above."""
    log_q = log_rates.log_softmax(1)
    log_f = probabilities.clamp_min(FLOOR).log()
    return (log_q.exp() * (log_q - log_f)).sum(1)


def label_kl_black_box_to_explainer(logits: Tensor, probabilities: Tensor) -> Tensor:
    """sum_c KL(Bern(f_c) || Bern(sigmoid(logit_c))), for classes that are not exclusive.

    Args:
        logits: the explainer's own of each class, (B, C), nats.
        probabilities: f(x), (B, C), each in [0, 1]; rows need not sum to 1.

    Returns:
        (B,), nats, non-negative.

    Example:
        >>> import torch
        >>> label_kl_black_box_to_explainer(torch.zeros(1, 2), torch.tensor([[0.5, 1.0]]))  # log 2 of the second
        tensor([0.6931])
    """
    return sum(p * (log_p - log_q) for p, log_p, log_q in _sides(logits, probabilities)).sum(1)


def label_kl_explainer_to_black_box(logits: Tensor, probabilities: Tensor) -> Tensor:
    """sum_c KL(Bern(sigmoid(logit_c)) || Bern(f_c)). Arguments and result as above."""
    return sum(log_q.exp() * (log_q - log_p) for _, log_p, log_q in _sides(logits, probabilities)).sum(1)


def _sides(logits: Tensor, probabilities: Tensor) -> tuple[tuple[Tensor, Tensor, Tensor], ...]:
    """f, log f and the explainer's log probability (B, C), of each class's presence, then of its absence."""
    present = probabilities.clamp(0, 1)
    return tuple(
        (p, p.clamp_min(FLOOR).log(), F.logsigmoid(sign * logits)) for p, sign in ((present, 1), (1 - present, -1))
    )
