"""Eq. 25 on one batch of masks: the policy's and the value's part (eq. 23), and the sum of all parts."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

from torch import Tensor

from fex.masking.valid import mean_over
from fex.policy import bernoulli
from fex.policy.control import Baseline
from fex.policy.exploration import Exploration
from fex.policy.kl import (
    kl_black_box_to_explainer,
    kl_explainer_to_black_box,
    label_kl_black_box_to_explainer,
    label_kl_explainer_to_black_box,
)
from fex.policy.ppo import clip_fraction, clipped_surrogate_joint, clipped_surrogate_per_feature
from fex.policy.rollout import Rollout
from fex.policy.value import value_loss

__all__ = ["DIVERGENCES", "LABEL_DIVERGENCES", "SURROGATES", "Objective", "PolicyTerms", "Surrogate", "policy_terms"]

# (log_prob (B, K, N), old_log_prob (B, K, N), advantage (B, K), clip_range, valid (B, N) or None) -> loss (B, K)
Surrogate = Callable[[Tensor, Tensor, Tensor, float, Tensor | None], Tensor]

SURROGATES: dict[str, Surrogate] = {
    "joint": clipped_surrogate_joint,
    "per_feature": clipped_surrogate_per_feature,
}
DIVERGENCES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "black_box_to_explainer": kl_black_box_to_explainer,
    "explainer_to_black_box": kl_explainer_to_black_box,
}
LABEL_DIVERGENCES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "black_box_to_explainer": label_kl_black_box_to_explainer,
    "explainer_to_black_box": label_kl_explainer_to_black_box,
}


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
    estimate stays unbiased whatever w is. On the removing side of a two-sided policy all of it changes sign. In the
    paper w = 0 and the side is 1: the advantage is c - v(x), whose 1/T of eq. 18 is the mean over masks.

    Args:
        logits: the explainer's logits of the target (B, N), with gradient.
        values: the value net's output (B, K), with gradient.
        rollout: masks and rewards.
        exploration: from logits to sampling logits.
        baseline: what is subtracted from the reward.
        surrogate: joint or per-feature (`fex.policy.ppo`).
        clip_range: epsilon of eq. 22.
    """
    reference = exploration.reference(rollout.budget)
    side = exploration.side(rollout.budget)
    valid = rollout.valid
    centred = exploration.centre(logits, valid)
    sampling = exploration(centred, rollout.budget)
    log_prob = bernoulli.log_prob(sampling, rollout.masks)
    if valid is not None:
        log_prob = log_prob * valid.unsqueeze(1)

    control = rollout.control.unsqueeze(1)
    linear = (control * (rollout.masks - reference.sigmoid())).sum(-1)
    rest = rollout.rewards - linear
    advantage = side * (rest - baseline(rest, values.detach()))
    loss = surrogate(log_prob, rollout.old_log_prob, advantage, clip_range, valid)
    loss = loss - side * (control * sampling.sigmoid()).sum(-1)
    return PolicyTerms(
        policy=mean_over(loss, rollout.there),
        relative_entropy=mean_over(exploration.price(centred, sampling, rollout.budget), rollout.there),
        value=value_loss(values, rest, rollout.there),
        log_ratio=log_prob.detach() - rollout.old_log_prob,
        predicted=values.detach() + linear,
    )


@dataclass(frozen=True)
class Objective:
    """The weighted sum that training minimises (eq. 25).

    Attributes:
        exploration: from logits to sampling logits.
        baseline: what is subtracted from the reward.
        surrogate: "joint" (the paper's) or "per_feature" ratio.
        clip_range: epsilon of eq. 22.
        divergence: direction of eq. 24.
        entropy_weight: lambda_en.
        value_weight: lambda_v.
        kl_weight: lambda_kl; at 0 the class term is left out.
        multi_label: the classes are not exclusive: eq. 24 is a sum over them.
    """

    exploration: Exploration
    baseline: Baseline
    surrogate: Literal["joint", "per_feature"]
    clip_range: float
    divergence: Literal["black_box_to_explainer", "explainer_to_black_box"]
    entropy_weight: float
    value_weight: float
    kl_weight: float
    multi_label: bool = False

    def __call__(
        self,
        logits: Tensor,
        values: Tensor,
        class_logits: Tensor | None,
        rollout: Rollout,
        clean: Tensor,
        weight: Tensor,
    ) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        """Eq. 25 on B instances.

        Args:
            logits: the explainer's logits of the target (B, N), with gradient.
            values: the value net's output (B, K), with gradient.
            class_logits: the explainer's own of all classes (B, C), with gradient; not read where `kl_weight` is 0.
            rollout: masks and rewards.
            clean: the black box's probabilities (B, C).
            weight: of each instance (B,); sums to 1 over the batch of one process (over those of several, on
                average), 0 for rows without a readable input.

        Returns:
            The loss, the signs to log (scalars without gradient), and what value net and control variate expect of
            each mask (B, K).
        """
        terms = policy_terms(
            logits,
            values,
            rollout,
            exploration=self.exploration,
            baseline=self.baseline,
            surrogate=SURROGATES[self.surrogate],
            clip_range=self.clip_range,
        )
        losses = {
            "policy_loss": (1.0, terms.policy),
            "relative_entropy": (self.entropy_weight, terms.relative_entropy),
            "value_loss": (self.value_weight, terms.value),
        }
        if self.kl_weight > 0:
            divergence = (LABEL_DIVERGENCES if self.multi_label else DIVERGENCES)[self.divergence]
            losses["kl_loss"] = (self.kl_weight, divergence(class_logits, clean))
        total = sum((share * loss * weight).sum() for share, loss in losses.values())
        signs = {name: (loss.detach() * weight).sum() for name, (_, loss) in losses.items()}
        signs |= self._moves(terms.log_ratio, rollout, weight)
        return total, signs, terms.predicted

    def _moves(self, log_ratio: Tensor, rollout: Rollout, weight: Tensor) -> dict[str, Tensor]:
        """How far the policy has moved from the one that drew the masks: log-ratios (B, K, N) -> scalars."""
        valid, joint = rollout.valid, log_ratio.sum(-1)
        divergence, own = bernoulli.approximate_kl(joint), self.surrogate == "joint"
        if rollout.there is None:
            decisions = log_ratio if valid is None else log_ratio.transpose(1, 2)[valid]
            clipped = clip_fraction(joint if own else decisions, self.clip_range)
            return {"approx_kl": divergence.mean(), "clip_fraction": clipped}
        outside = (((joint if own else log_ratio).exp() - 1).abs() > self.clip_range).float()
        share = outside if own else mean_over(outside, None if valid is None else valid.unsqueeze(1))
        found = {"approx_kl": divergence, "clip_fraction": share}
        return {name: (mean_over(value, rollout.there) * weight).sum() for name, value in found.items()}
