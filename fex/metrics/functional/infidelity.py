"""Infidelity: how far the attributions of removed features are from the fall of the score that removing them causes.

Source: Yeh et al. 2019, "On the (In)fidelity and Sensitivity of Explanations", definition 2.1, with the removal of
random sets of features as perturbation, and with the attribution scaled by the factor that serves it best. Without that
factor the measure compares units: a probability of keeping a patch is no difference of scores.
"""

import torch
from torch import Tensor

__all__ = ["scaled_infidelity"]


def scaled_infidelity(attributed: Tensor, effects: Tensor) -> Tensor:
    """Least mean squared error of b a_k as a prediction of d_k, over the factor b.

    Args:
        attributed: a, the sum of the attributions of the features that mask k removes (B, K).
        effects: d, the fall of the target's probability under mask k (B, K).

    Returns:
        (B,), float32, >= 0; an attribution of nothing but zeros gets the mean of d^2.

    Raises:
        ValueError: shapes that differ, or no masks.

    Example:
        >>> scaled_infidelity(torch.tensor([[1.0, 2.0]]), torch.tensor([[0.1, 0.2]]))
        tensor([0.])
    """
    if attributed.shape != effects.shape or attributed.ndim != 2 or attributed.shape[1] < 1:
        raise ValueError(
            f"Got sums of shape {tuple(attributed.shape)} and effects of {tuple(effects.shape)}, expected (B, K) twice."
        )
    a, d = attributed.double(), effects.double()
    power = a.square().sum(1)
    scale = torch.where(power > 0, (a * d).sum(1) / power.where(power > 0, 1.0), 0.0)
    return (scale[:, None] * a - d).square().mean(1).float()
