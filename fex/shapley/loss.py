"""The least-squares Shapley loss of FastSHAP (Jethani et al. 2022), with additive efficiency normalisation."""

from torch import Tensor

from fex.masking.valid import mean_over

__all__ = ["shapley_loss"]


def shapley_loss(
    sums: Tensor, share: Tensor, scores: Tensor, clean: Tensor, blank: Tensor, there: Tensor | None = None
) -> Tensor:
    """Mean over masks of sum_y (f_y(m x) - f_y(blank) - sum_n m_n phi_n,y)^2, where the phi sum to f(x) - f(blank).

    With masks from the Shapley kernel its minimum over all functions of x is the Shapley values.

    Args:
        sums: sum_n (m_n - share) phi_n,y before normalisation, (B, K, C); see `fex.shapley.centred`.
        share: kept share of each mask, (B, K).
        scores: f_y of the masked inputs, (B, K, C).
        clean: f(x), (B, C).
        blank: f of the blank input, (B, C).
        there: which masks there are (B, K), bool; None where all are.

    Returns:
        (B,), squared probability.
    """
    expected = blank.unsqueeze(1) + share.unsqueeze(-1) * (clean - blank).unsqueeze(1) + sums
    return mean_over((scores - expected).square().sum(-1), there)
