"""The policy's and the value's part of eq. 25 on one batch of masks."""

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

from fex import policy
from fex.estimators import Baseline, Exploration
from fex.losses.value import value_loss
from fex.rollout import Rollout

__all__ = ["PolicyTerms", "Surrogate", "policy_terms"]

# (log_prob (B, K, N), old_log_prob (B, K, N), advantage (B, K), clip_range, valid (B, N) or None) -> loss (B, K)
Surrogate = Callable[[Tensor, Tensor, Tensor, float, Tensor | None], Tensor]


class PolicyTerms(NamedTuple):
    """Losses of each instance (B,), and what the failure signs need, without gradient.

    Attributes:
        policy: minus the clipped surrogate, less the control variate's own expectation.
        relative_entropy: KL of the policy to its reference, nats.
        value: squared error of the value net.
        log_ratio: of each decision, new against old (B, K, N).
        predicted: what value net and control variate expect of each mask (B, K).
    """

    policy: Tensor
    relative_entropy: Tensor
    value: Tensor
    log_ratio: Tensor
    predicted: Tensor


def policy_terms(
    logits: Tensor,
    values: Tensor,
    rollout: Rollout,
    *,
    exploration: Exploration,
    baseline: Baseline,
    surrogate: Surrogate,
    clip_range: float,
) -> PolicyTerms:
    """Clipped surrogate with control variate (eq. 18-22), relative entropy and value loss (eq. 19).

    The reward is modelled as v(x) + sum_n w_n (m_n - r), r the kept share of the reference; the advantage is what that
    model leaves. Its expectation under the policy, sum_n w_n lambda_n, comes back with its exact gradient, so the
    estimate stays unbiased whatever w is. On the removing side of a two-sided policy all of it changes sign.

    Args:
        logits: the explainer's logits of the target (B, N), with gradient.
        values: the value net's output (B, K), with gradient.
        rollout: masks and rewards.
        exploration: from logits to sampling logits.
        baseline: what is subtracted from the reward.
        surrogate: joint or per-feature (`fex.losses.ppo`).
        clip_range: epsilon of eq. 22.
    """
    reference = exploration.reference(rollout.budget)
    side = exploration.side(rollout.budget)
    valid = rollout.valid
    sampling = exploration(exploration.centre(logits, valid), rollout.budget)
    log_prob = policy.log_prob(sampling, rollout.masks)
    if valid is not None:
        log_prob = log_prob * valid.unsqueeze(1)

    control = rollout.control.unsqueeze(1)
    linear = (control * (rollout.masks - reference.sigmoid())).sum(-1)
    rest = rollout.rewards - linear
    advantage = side * (rest - baseline(rest, values.detach()))
    loss = surrogate(log_prob, rollout.old_log_prob, advantage, clip_range, valid)
    loss = loss - side * (control * sampling.sigmoid()).sum(-1)
    return PolicyTerms(
        policy=loss.mean(1),
        relative_entropy=policy.relative_entropy(sampling, reference).mean(1),
        value=value_loss(values, rest),
        log_ratio=log_prob.detach() - rollout.old_log_prob,
        predicted=values.detach() + linear,
    )
