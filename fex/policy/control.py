"""Baselines and control variates: what is subtracted from a reward before it weighs a gradient (eq. 18).

All leave the expected gradient unchanged; tests enumerate it.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

__all__ = ["Baseline", "CompatibleControl", "Control", "LeaveOneOut", "NoControl", "ValueBaseline"]


class Baseline(ABC):
    """Expected reward before the mask is known."""

    def check(self, *, paired: bool, replayed: bool) -> None:  # noqa: B027 most take any masks
        """Raises ValueError for masks that it cannot do with: drawn in pairs, or of many policies."""

    @abstractmethod
    def __call__(self, rewards: Tensor, values: Tensor) -> Tensor:
        """Rewards (B, K) and the value net's output (B, K) -> baseline (B, K), independent of each mask itself."""


class ValueBaseline(Baseline):
    """The paper's v(x) (eq. 18)."""

    def __call__(self, rewards: Tensor, values: Tensor) -> Tensor:
        return values


class LeaveOneOut(Baseline):
    """Mean reward of the instance's other K - 1 masks; for masks that share one distribution and are independent."""

    def check(self, *, paired: bool, replayed: bool) -> None:
        if paired:
            raise ValueError(
                "LeaveOneOut wants independent masks; one of an antithetic pair is among the others of its twin, which "
                "biases the gradient: use Independent noise (or antithetic: false), or another baseline."
            )
        if replayed:
            raise ValueError(
                "LeaveOneOut wants masks of one policy, and replay mixes those of many: use ValueBaseline, or set "
                "replay to null."
            )

    def __call__(self, rewards: Tensor, values: Tensor) -> Tensor:
        count = rewards.shape[1]
        if count < 2:
            raise ValueError("LeaveOneOut needs at least two masks an instance; got 1. Use ValueBaseline, or K > 1.")
        return (rewards.sum(1, keepdim=True) - rewards) / (count - 1)


class Control(ABC):
    """A linear model of the reward in the mask, w: reward ~ ... + sum_n w_n (m_n - lambda_n)."""

    @abstractmethod
    def __call__(self, centred: Tensor, temperature: float) -> Tensor:
        """Weights (B, N), without gradient, from the policy's centred logits (B, N)."""


class NoControl(Control):
    """No control variate."""

    def __call__(self, centred: Tensor, temperature: float) -> Tensor:
        return torch.zeros_like(centred)


class CompatibleControl(Control):
    """The policy is its own critic: w = temperature * logit.

    At the optimum of the entropy-regularised objective E[c] - temperature * KL(q || reference) the logits are the
    features' marginal effects divided by the temperature, so the policy's own logits are the linear model of the
    reward that its gradient is compatible with (Sutton et al. 2000; Schulman et al. 2017, "Equivalence between policy
    gradients and soft Q-learning"). Used as control variate, the estimated gradient of a logit becomes
    (c - v - sum w (m - lambda)) (m_n - lambda_n): the least-squares residual, with the least variance that a linear
    model can leave, instead of the whole reward.
    """

    def __call__(self, centred: Tensor, temperature: float) -> Tensor:
        return temperature * centred.detach()
