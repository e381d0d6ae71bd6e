"""Masks drawn from the policy, and what the black box says of them (Algorithm 1, lines 5 and 6).

Read `collect` first. `exploration` turns the explainer's logits into those that masks are drawn from; in the paper they
are the same, and budget noise, `kept` and `control` say nothing.
"""

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from fex.black_box.base import BlackBox
from fex.masking.masker import Masker, masked_probabilities
from fex.policy import bernoulli
from fex.policy.control import Control
from fex.policy.exploration import Exploration
from fex.policy.rewards import Reward

__all__ = ["BlankScores", "Judge", "Rollout", "collect"]


@dataclass(frozen=True)
class Rollout:
    """K masks of each of B instances; all without gradient.

    Attributes:
        masks: (B, K, N), 1 = kept.
        budget: budget noise (B, K), uniform on [0, 1).
        old_log_prob: log-probability of each decision under the policy that drew it, (B, K, N), nats.
        kept: share by which the value net tells masks apart, (B, K) (`Exploration.kept`).
        control: weights of the control variate (B, N), in units of the reward.
        scores: f_y of the masked inputs (B, K).
        rewards: (B, K).
        valid: which entries are features of the instance (B, N), bool; None where all are.
        there: which masks there are (B, K), bool; None where all are. The others count for nothing.
    """

    masks: Tensor
    budget: Tensor
    old_log_prob: Tensor
    kept: Tensor
    control: Tensor
    scores: Tensor
    rewards: Tensor
    valid: Tensor | None = None
    there: Tensor | None = None

    def __getitem__(self, rows: Tensor) -> "Rollout":
        """The instances `rows`, int64."""
        values = (getattr(self, field.name) for field in fields(self))
        return Rollout(*(None if value is None else value[rows] for value in values))

    def spread(self, rows: Tensor) -> "Rollout":
        """This as the instances `rows`, bool (B,), of a batch whose other instances have no masks."""
        there = torch.ones_like(self.budget, dtype=torch.bool) if self.there is None else self.there
        found = {}
        for field in fields(self):
            value = there if field.name == "there" else getattr(self, field.name)
            if value is not None:
                found[field.name] = value.new_zeros(len(rows), *value.shape[1:])
                found[field.name][rows] = value
        return Rollout(**found)

    def beside(self, other: "Rollout") -> "Rollout":
        """The masks of both, of the same instances; control weights and features are this one's."""
        own = ("control", "valid")
        return Rollout(
            **{
                field.name: getattr(self, field.name)
                if field.name in own
                else torch.cat([getattr(self, field.name), getattr(other, field.name)], 1)
                for field in fields(self)
            }
        )


@dataclass(frozen=True)
class Judge:
    """Makes masks and what the black box said of them a rollout.

    Attributes:
        exploration: from logits to sampling logits.
        control: control variate.
        reward: c(m, x).
        temperature: lambda_en, for a compatible control.
    """

    exploration: Exploration
    control: Control
    reward: Reward
    temperature: float

    @torch.no_grad()
    def __call__(
        self,
        masks: Tensor,
        budget: Tensor,
        scores: Tensor,
        *,
        logits: Tensor,
        drawn_by: Tensor | None = None,
        blank: Tensor,
        valid: Tensor | None,
        there: Tensor | None = None,
    ) -> Rollout:
        """A rollout of B instances.

        Args:
            masks: (B, K, N), 1 = kept.
            budget: budget noise (B, K).
            scores: f_y of the masked inputs (B, K).
            logits: the explainer's logits of the target (B, N), for the control variate.
            drawn_by: centred logits that drew each mask, (B, K, N); by default those of `logits`.
            blank: f_y of the blank input (B,).
            valid: which entries are features (B, N), bool; None where all are.
            there: which masks there are (B, K), bool; None where all are.
        """
        centred = self.exploration.centre(logits, valid)
        sampling = self.exploration(centred if drawn_by is None else drawn_by, budget)
        old_log_prob = bernoulli.log_prob(sampling, masks)
        if valid is not None:  # what is no feature is never removed, and never counted as kept
            masks, old_log_prob = masks * valid.unsqueeze(1), old_log_prob * valid.unsqueeze(1)
        return Rollout(
            masks=masks,
            budget=budget,
            old_log_prob=old_log_prob,
            kept=self.exploration.kept(masks, budget, valid),
            control=self.control(centred, self.temperature),
            scores=scores,
            rewards=self.reward(scores, masks, blank, None if valid is None else valid.sum(1)),
            valid=valid,
            there=there,
        )


@torch.no_grad()
def collect(
    black_box: BlackBox,
    masker: Masker,
    inputs: Tensor,
    target: Tensor,
    logits: Tensor,
    noise: tuple[Tensor, Tensor],
    judge: Judge,
    blank: Tensor,
) -> Rollout:
    """Draws K masks an instance (the paper's T) and asks the black box: a sample of J(q) (eq. 10); B * K queries.

    Args:
        black_box: the box.
        masker: features and removal.
        inputs: (B, ...), as the box takes them.
        target: classes (B,), int64.
        logits: the explainer's logits of the target (B, N).
        noise: of the masks (B, K, N) and of the budgets (B, K), uniform on [0, 1).
        judge: exploration, control variate and reward.
        blank: f_y of the blank input (B,).
    """
    mask_noise, budget = noise
    valid = masker.features.valid(inputs)
    exploration = judge.exploration
    masks = bernoulli.sample(exploration(exploration.centre(logits, valid), budget), mask_noise)
    shown = masks if valid is None else masks * valid.unsqueeze(1)
    scores = masked_probabilities(black_box, masker, inputs, shown, target)
    return judge(masks, budget, scores, logits=logits, blank=blank, valid=valid)


class BlankScores:
    """What the black box says of the blank input; asked once for all inputs where the fill is constant.

    Args:
        black_box: the box.
        masker: features and removal.
    """

    def __init__(self, black_box: BlackBox, masker: Masker) -> None:
        self.black_box, self.masker = black_box, masker
        self._known: Tensor | None = None

    def probabilities(self, inputs: Tensor) -> Tensor:
        """Probabilities (B, C) of `inputs` (B, 3, H, W) with all features removed."""
        if not self.masker.removal.constant:
            return self.black_box(self.masker.blank(inputs))
        if self._known is None:
            self._known = self.black_box(self.masker.blank(inputs[:1]))
        return self._known.to(inputs.device).expand(len(inputs), -1)

    def __call__(self, inputs: Tensor, target: Tensor) -> Tensor:
        """Those of the classes `target` (B,) alone, (B,)."""
        return self.probabilities(inputs).gather(1, target.unsqueeze(1)).squeeze(1)
