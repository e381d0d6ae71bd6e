"""FEX: a Bernoulli mask policy trained by PPO against queries to a black box (paper, Algorithm 1)."""

from typing import Literal

import torch
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor

from fex import policy
from fex.black_box import BlackBox
from fex.estimators import (
    Baseline,
    Control,
    Exploration,
    Independent,
    NoControl,
    Noise,
    OnPolicy,
    ValueBaseline,
)
from fex.features import PatchGrid
from fex.losses import (
    clip_fraction,
    clipped_surrogate_joint,
    clipped_surrogate_per_feature,
    explained_variance,
    kl_black_box_to_explainer,
    kl_explainer_to_black_box,
)
from fex.losses.objective import policy_terms
from fex.nets import Encoded, ExplainerNet
from fex.removal import Removal
from fex.rewards import BlankCorrectedRatio, Reward
from fex.rollout import Rollout, collect
from fex.types import Batch
from lightning_modules.amortized_module import AmortizedModule

__all__ = ["FEXModule"]

SURROGATES = {"joint": clipped_surrogate_joint, "per_feature": clipped_surrogate_per_feature}
DIVERGENCES = {
    "black_box_to_explainer": kl_black_box_to_explainer,
    "explainer_to_black_box": kl_explainer_to_black_box,
}


class FEXModule(AmortizedModule):
    """Trains an explainer. Defaults are the paper's, except the reward (see the method notes).

    Args:
        black_box: what is explained; queried only.
        features: N features.
        explainer: the network g with its value head.
        removal: what stands in for a removed feature.
        reward: c(m, x).
        num_masks: masks an instance and step (the paper's trajectory length T).
        noise: randomness of the masks.
        exploration: the policy itself, or random budgets.
        baseline: what is subtracted from the reward.
        control: control variate.
        surrogate: "joint" (the paper's) or "per_feature" ratio.
        clip_range: epsilon of eq. 22.
        inner_epochs: updates on the same masks; the first reuses the rollout's pass.
        minibatches: M parts of the batch (every M-th row) updated one after the other in each inner epoch; where M
            divides the batch of a process, the parts do not depend on how many processes share the global batch.
        kl_stop: make no further update on these masks once the approximate KL (nats a mask) exceeds this; None never
            stops. The number of optimiser steps a batch then varies, and with it what `every_n_train_steps` counts.
        entropy_weight: lambda_en; with a compatible control also its temperature.
        value_weight: lambda_v.
        kl_weight: lambda_kl.
        divergence: direction of eq. 24.
        optimizer: builds the optimiser from the parameters.
        warmup: share of training over which the learning rate rises.
        decay: "cosine" to zero at the end, or "constant".
        gradient_clip: largest gradient norm; None does not clip.
        seed: seed of the masks.
    """

    method = "FEX"
    explainer: ExplainerNet

    def __init__(
        self,
        black_box: BlackBox,
        features: PatchGrid,
        explainer: ExplainerNet,
        removal: Removal | None = None,
        reward: Reward | None = None,
        num_masks: int = 5,
        noise: Noise | None = None,
        exploration: Exploration | None = None,
        baseline: Baseline | None = None,
        control: Control | None = None,
        surrogate: Literal["joint", "per_feature"] = "joint",
        clip_range: float = 0.2,
        inner_epochs: int = 1,
        minibatches: int = 1,
        kl_stop: float | None = None,
        entropy_weight: float = 1e-5,
        value_weight: float = 0.5,
        kl_weight: float = 1.0,
        divergence: Literal["black_box_to_explainer", "explainer_to_black_box"] = "black_box_to_explainer",
        optimizer: OptimizerCallable = torch.optim.AdamW,
        warmup: float = 0.0,
        decay: Literal["cosine", "constant"] = "constant",
        gradient_clip: float | None = 1.0,
        seed: int = 0,
    ) -> None:
        if min(num_masks, inner_epochs, minibatches) < 1:
            raise ValueError(
                f"num_masks, inner_epochs and minibatches must be at least 1, got {num_masks}, {inner_epochs}, "
                f"{minibatches}."
            )
        super().__init__(
            black_box, features, explainer, removal,
            num_masks=num_masks, noise=noise or Independent(), optimizer=optimizer, warmup=warmup, decay=decay,
            gradient_clip=gradient_clip, seed=seed,
        )  # fmt: skip
        self.reward, self.exploration = reward or BlankCorrectedRatio(), exploration or OnPolicy()
        self.baseline, self.control = baseline or ValueBaseline(), control or NoControl()
        self.surrogate, self.divergence = SURROGATES[surrogate], DIVERGENCES[divergence]
        self.joint_ratio = surrogate == "joint"
        self.clip_range, self.inner_epochs, self.minibatches, self.kl_stop = (
            clip_range, inner_epochs, minibatches, kl_stop,
        )  # fmt: skip
        self.updates = inner_epochs * minibatches
        self.entropy_weight, self.value_weight, self.kl_weight = entropy_weight, value_weight, kl_weight

    def _blank_scores(self, inputs: Tensor, target: Tensor) -> Tensor:
        """f_y of the blank input, (B,)."""
        if not self.reward.uses_blank:
            return inputs.new_zeros(len(inputs))
        return self._blank_probabilities(inputs).gather(1, target.unsqueeze(1)).squeeze(1)

    def _rollout(self, inputs: Tensor, target: Tensor, logits: Tensor) -> Rollout:
        """Draws masks from the policy and queries the black box."""
        return collect(
            self.black_box,
            self.masker,
            inputs,
            target,
            logits,
            self._draw(len(inputs)),
            exploration=self.exploration,
            control=self.control,
            reward=self.reward,
            blank=self._blank_scores(inputs, target),
            temperature=self.entropy_weight,
        )

    def _encode(self, inputs: Tensor, target: Tensor) -> tuple[Encoded, Tensor]:
        """What the losses need of the explainer, and the target's logits (B, N): one pass."""
        encoded = self.explainer.encode(inputs)
        return encoded, self.explainer.target_logits(encoded, target)

    def _loss(
        self, output: tuple[Encoded, Tensor], rollout: Rollout, clean: Tensor, target: Tensor, weight: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Eq. 25 on one (mini)batch; `weight` (B,) sums to 1 and is 0 for rows without a readable input."""
        encoded, logits = output
        terms = policy_terms(
            logits,
            self.explainer.value(encoded.trunk, target, rollout.kept),
            rollout,
            exploration=self.exploration,
            baseline=self.baseline,
            surrogate=self.surrogate,
            clip_range=self.clip_range,
        )
        losses = {
            "policy_loss": (1.0, terms.policy),
            "relative_entropy": (self.entropy_weight, terms.relative_entropy),
            "value_loss": (self.value_weight, terms.value),
        }
        if self.kl_weight > 0:
            losses["kl_loss"] = (self.kl_weight, self.divergence(self.explainer.class_log_rates(encoded), clean))
        total = sum((share * loss * weight).sum() for share, loss in losses.values())
        signs = {name: (loss.detach() * weight).sum() for name, (_, loss) in losses.items()}
        joint = terms.log_ratio.sum(-1)
        signs["approx_kl"] = policy.approximate_kl(joint).mean()
        signs["clip_fraction"] = clip_fraction(joint if self.joint_ratio else terms.log_ratio, self.clip_range)
        everywhere = self._gather(torch.stack([terms.predicted, rollout.rewards], 1))
        signs["explained_variance"] = explained_variance(everywhere[:, 0], everywhere[:, 1])
        return total, signs

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """Queries, then PPO updates (Algorithm 1, lines 3-9)."""
        inputs, valid = batch["inputs"], batch["valid"]
        clean = self.black_box(inputs)
        target = clean.argmax(1)
        reuse = self.minibatches == 1
        with torch.set_grad_enabled(reuse):
            output = self._encode(inputs, target)
        rollout = self._rollout(inputs, target, output[1].detach())
        signs = self._improve(inputs, target, valid, clean, rollout, output if reuse else None)
        self.lr_schedulers().step()
        self._log_step(signs, rollout, output[1].detach(), clean, len(inputs))

    def _improve(
        self,
        inputs: Tensor,
        target: Tensor,
        valid: Tensor,
        clean: Tensor,
        rollout: Rollout,
        first: tuple[Encoded, Tensor] | None,
    ) -> dict[str, Tensor]:
        """The inner epochs; `first` is the rollout's own pass, where it can be used again. Returns the last signs."""
        optimizer = self.optimizers()
        # Every M-th row, so that the parts of the global batch do not depend on how many processes share it.
        count = min(self.minibatches, len(inputs))
        parts = [torch.arange(start, len(inputs), count, device=inputs.device) for start in range(count)]
        signs: dict[str, Tensor] = {}
        norm = inputs.new_zeros(())
        for update in range(self.inner_epochs * count):
            part = parts[update % count]
            output = self._encode(inputs[part], target[part]) if update or first is None else first
            weight = valid[part].float() / valid[part].sum().clamp_min(1)
            loss, signs = self._loss(output, rollout[part], clean[part], target[part], weight)
            if update and self._moved_too_far(signs["approx_kl"]):
                break
            optimizer.zero_grad()
            self.manual_backward(loss)
            norm = self._step(optimizer)
        return {**signs, "gradient_norm": norm}

    def _moved_too_far(self, divergence: Tensor) -> bool:
        if self.kl_stop is None:
            return False
        # All ranks must take the same decision, or DDP waits for ever.
        return float(self.trainer.strategy.reduce(divergence, reduce_op="mean")) > self.kl_stop

    def _log_step(
        self, signs: dict[str, Tensor], rollout: Rollout, logits: Tensor, clean: Tensor, batch_size: int
    ) -> None:
        signs["reward"] = rollout.rewards.mean()
        signs["masked_score"] = rollout.scores.mean()
        signs["clean_score"] = clean.amax(1).mean()
        signs["kept_share"] = rollout.masks.mean()
        signs["logit_spread"] = logits.std(1).mean()
        self._log_signs(signs, batch_size)
        self.log("reward", signs["reward"], prog_bar=True, logger=False, batch_size=batch_size)
