"""The least-squares Shapley loss of FastSHAP (Jethani et al. 2022), with additive efficiency normalisation."""

from torch import Tensor

__all__ = ["shapley_loss"]


def shapley_loss(sums: Tensor, share: Tensor, scores: Tensor, clean: Tensor, blank: Tensor) -> Tensor:
    """Mean over masks of sum_y (f_y(m x) - f_y(blank) - sum_n m_n phi_n,y)^2, where the phi sum to f(x) - f(blank).

    With masks from the Shapley kernel its minimum over all functions of x is the Shapley values.

    Args:
        sums: sum_n (m_n - share) phi_n,y before normalisation, (B, K, C); see `fex.shapley.centred`.
        share: kept share of each mask, (B, K).
        scores: f_y of the masked inputs, (B, K, C).
        clean: f(x), (B, C).
        blank: f of the blank input, (B, C).

    Returns:
        (B,), squared probability.
    """
    expected = blank.unsqueeze(1) + share.unsqueeze(-1) * (clean - blank).unsqueeze(1) + sums
    return (scores - expected).square().sum(-1).mean(1)
