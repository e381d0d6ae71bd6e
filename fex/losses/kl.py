"""Alignment of the explainer's mean log rates with the black box's classes (eq. 24), in both directions."""

from torch import Tensor

__all__ = ["kl_explainer_to_black_box", "kl_black_box_to_explainer"]


def kl_black_box_to_explainer(log_rates: Tensor, probabilities: Tensor) -> Tensor:
    """KL(f || softmax(mean_n log g)), the default: cross-entropy to the black box, minus its entropy.

    Args:
        log_rates: mean over features of log g for each class, (B, C), nats.
        probabilities: f(x), (B, C).

    Returns:
        (B,), nats, non-negative.
    """
    log_q = log_rates.log_softmax(1)
    log_f = probabilities.clamp_min(1e-12).log()
    return (probabilities * (log_f - log_q)).sum(1)


def kl_explainer_to_black_box(log_rates: Tensor, probabilities: Tensor) -> Tensor:
    """KL(softmax(mean_n log g) || f), as eq. 24 is printed. Arguments and result as above."""
    log_q = log_rates.log_softmax(1)
    log_f = probabilities.clamp_min(1e-12).log()
    return (log_q.exp() * (log_q - log_f)).sum(1)
