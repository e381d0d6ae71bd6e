"""FEX: a Bernoulli mask policy trained by PPO against queries to a black box (paper, Algorithm 1)."""

from typing import Literal

import torch
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor

from fex.black_box import BlackBox
from fex.explainers import begin_as
from fex.images import PatchGrid, Removal
from fex.masking import mean_over, std_over
from fex.nets import Encoded, ExplainerNet
from fex.policy import (
    Baseline,
    BlankCorrectedRatio,
    Control,
    Exploration,
    Independent,
    Judge,
    MaskNoise,
    NoControl,
    Objective,
    OnPolicy,
    Replay,
    Reward,
    Rollout,
    ValueBaseline,
    collect,
    explained_variance,
)
from fex.types import Batch
from lightning_modules.base import AmortizedModule
from lightning_modules.drawing import draw_masks, explained_classes
from lightning_modules.inner_epochs import InnerEpochs
from lightning_modules.processes import gather_rows, valid_weight
from lightning_modules.replaying import Replaying, Visit, mean_there

__all__ = ["FEXModule"]


class FEXModule(AmortizedModule):
    """Trains an explainer. Defaults are the paper's, except the reward (see the method notes).

    Args:
        black_box: what is explained; queried only.
        features: N features; None takes those that the inputs have by themselves, the tokens of a text.
        explainer: the network g with its value head.
        removal: what stands in for a removed feature; by default the mean colour, or the mask token of a text.
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
        accumulate: A pieces of each update's rows, whose gradients are added before the step: the same update in the
            memory of a piece, for batches that do not fit; costs one more pass of the explainer.
        kl_stop: approximate KL (nats a mask) above which these masks are done; optimiser steps a batch then vary.
        entropy_weight: lambda_en; with a compatible control also its temperature.
        value_weight: lambda_v.
        kl_weight: lambda_kl.
        divergence: direction of eq. 24.
        optimizer: builds the optimiser from the parameters.
        warmup: share of training over which the learning rate rises.
        decay: "cosine" to zero at the end, or "constant".
        gradient_clip: largest gradient norm; None does not clip.
        replay: which visits ask the black box, and how many of its past answers each learns from beside; None learns
            from fresh masks alone. Masks of a policy have the ratio of eq. 21 to it, whose clip passes over those too
            far from the present one; those of `ReferenceBudget` stay as good as new.
        seed: seed of the masks.
        start: name, checkpoint or run of a trained explainer whose weights this one begins with; None: untrained.

    Raises:
        ValueError: numbers out of range; LeaveOneOut with paired or replayed masks; a start that does not fit.
    """

    method = "FEX"
    explainer: ExplainerNet

    def __init__(
        self,
        black_box: BlackBox,
        features: PatchGrid | None,
        explainer: ExplainerNet,
        removal: Removal | None = None,
        reward: Reward | None = None,
        num_masks: int = 5,
        noise: MaskNoise | None = None,
        exploration: Exploration | None = None,
        baseline: Baseline | None = None,
        control: Control | None = None,
        surrogate: Literal["joint", "per_feature"] = "joint",
        clip_range: float = 0.2,
        inner_epochs: int = 1,
        minibatches: int = 1,
        accumulate: int = 1,
        kl_stop: float | None = None,
        entropy_weight: float = 1e-5,
        value_weight: float = 0.5,
        kl_weight: float = 1.0,
        divergence: Literal["black_box_to_explainer", "explainer_to_black_box"] = "black_box_to_explainer",
        optimizer: OptimizerCallable = torch.optim.AdamW,
        warmup: float = 0.0,
        decay: Literal["cosine", "constant"] = "constant",
        gradient_clip: float | None = 1.0,
        replay: Replay | None = None,
        seed: int = 0,
        start: str | None = None,
    ) -> None:
        if min(num_masks, inner_epochs, minibatches, accumulate) < 1:
            raise ValueError(
                f"num_masks, inner_epochs, minibatches and accumulate must be at least 1, got {num_masks}, "
                f"{inner_epochs}, {minibatches}, {accumulate}."
            )
        super().__init__(
            black_box, features, explainer, removal,
            num_masks=num_masks, noise=noise or Independent(), optimizer=optimizer, warmup=warmup, decay=decay,
            updates=InnerEpochs(inner_epochs, minibatches, kl_stop, gradient_clip, accumulate), seed=seed,
        )  # fmt: skip
        if replay is not None and black_box.multi_label:
            raise ValueError(
                "Replay learns one class of each instance, and the labels of a multi-label box take turns: set replay "
                "to null."
            )
        self.reward, self.exploration = reward or BlankCorrectedRatio(), exploration or OnPolicy()
        self.baseline, self.control = baseline or ValueBaseline(), control or NoControl()
        self.baseline.check(paired=self.noise.paired, replayed=replay is not None)
        self.entropy_weight, self.kl_weight = entropy_weight, kl_weight
        if self.explainer.multi_label and kl_weight == 0:  # nothing else would train it, which DDP refuses
            self.explainer.level.requires_grad_(requires_grad=False)
        self.objective = Objective(
            self.exploration, self.baseline, surrogate, clip_range, divergence, entropy_weight, value_weight, kl_weight,
            self.explainer.multi_label,
        )  # fmt: skip
        self.judge = Judge(self.exploration, self.control, self.reward, entropy_weight)
        begin_as(self.explainer, self._meta(), start)
        if replay is not None:
            self.replaying = Replaying(
                replay, num_masks, scores=1, pairs=self.noise.paired, uses_blank=self.reward.uses_blank,
                exploration=self.exploration,
            )  # fmt: skip

    def _rollout(
        self, inputs: Tensor, target: Tensor, logits: Tensor, visit: Visit | None = None, clean: Tensor | None = None
    ) -> Rollout:
        """Draws masks from the policy and queries the black box; with `visit` where that asks, beside past masks."""
        noise = draw_masks(self, len(inputs), self.features.count(inputs))
        if visit is None:
            blank = self._blank_scores(inputs, target)
            return collect(self.black_box, self.masker, inputs, target, logits, noise, self.judge, blank)
        past = self.replaying.past(visit, self.features.count(inputs), inputs.device)
        rollout = self.judge(
            past["masks"], past["budget"], past["scores"][..., 0], logits=logits,
            drawn_by=past["policies"] if self.exploration.follows_policy else None,
            blank=past["blank"][:, 0], valid=self.features.valid(inputs), there=visit.there.to(inputs.device),
        )  # fmt: skip
        if not visit.asking:
            return rollout
        fresh = visit.fresh.to(inputs.device)
        inputs, target, logits, noise = inputs[fresh], target[fresh], logits[fresh], (noise[0][fresh], noise[1][fresh])
        blank = self._blank_scores(inputs, target)
        new = collect(self.black_box, self.masker, inputs, target, logits, noise, self.judge, blank)
        told = blank if self.reward.uses_blank else torch.full_like(blank, torch.nan)
        self.replaying.keep(
            self, visit, new.masks, new.budget, new.scores.unsqueeze(-1), self.exploration.centre(logits, new.valid),
            clean=clean, target=target, blank=told.unsqueeze(1),
        )  # fmt: skip
        return rollout.beside(new.spread(fresh))

    def _blank_scores(self, inputs: Tensor, target: Tensor) -> Tensor:
        """f_y of the blank input (B,), where the reward needs it."""
        if self.reward.uses_blank and len(inputs):
            return self._blank(inputs, target)
        return torch.zeros(len(inputs), device=inputs.device)

    def _encode(self, inputs: Tensor, target: Tensor) -> tuple[Encoded, Tensor]:
        """What the losses need of the explainer, and the target's logits (B, N): one pass."""
        encoded = self.explainer.encode(inputs)
        return encoded, self.explainer.target_logits(encoded, target)

    @torch.no_grad()
    def _logits(self, inputs: Tensor, target: Tensor) -> Tensor:
        """The target's logits (B, N) alone, a piece at a time."""
        pieces = torch.arange(len(inputs)).split(-(-len(inputs) // self.updates.accumulate))
        return torch.cat([self._encode(inputs[rows], target[rows])[1] for rows in pieces])

    def _loss(
        self, output: tuple[Encoded, Tensor], rollout: Rollout, clean: Tensor, target: Tensor, weight: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Eq. 25 on one (mini)batch; `clean` is f(x) (B, C), `weight` (B,) is as `valid_weight` gives it."""
        encoded, logits = output
        total, signs, predicted = self.objective(
            logits,
            self.explainer.value(encoded.trunk, target, rollout.kept),
            self.explainer.class_logits(encoded) if self.kl_weight > 0 else None,
            rollout,
            clean,
            weight,
        )
        there = rollout.there if rollout.there is not None else torch.ones_like(predicted)
        found, rewards, there = gather_rows(self, torch.stack([predicted, rollout.rewards, there], 1)).unbind(1)
        if rollout.there is not None:
            found, rewards = found[there > 0], rewards[there > 0]
        signs["explained_variance"] = explained_variance(found, rewards)
        return total, signs

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """Queries, then PPO updates (Algorithm 1, lines 3-9)."""
        inputs, valid, visit = batch["inputs"], batch["valid"], None
        if self.replaying is None:
            clean = self._clean(batch)
            target = explained_classes(self, clean)
        else:
            visit = self.replaying.visit(self, batch)
            clean, target = self.replaying.clean(self.black_box, visit, inputs)
            valid = visit.usable.to(valid.device)
        output = self._encode(inputs, target) if self.updates.whole else None
        logits = output[1].detach() if output is not None else self._logits(inputs, target)
        rollout = self._rollout(inputs, target, logits, visit, clean)
        if visit is not None:
            self.cost.settle()

        def loss(rows: Tensor, update: int, weight: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
            # The first update is of the rollout's own pass, where that saw the same rows.
            found = output if output is not None and update == 0 else self._encode(inputs[rows], target[rows])
            return self._loss(found, rollout[rows], clean[rows], target[rows], weight)

        signs = self.updates.run(self, list(self.explainer.parameters()), valid, loss)
        self.lr_schedulers().step()
        self._log_step(signs, rollout, logits, clean.gather(1, target.unsqueeze(1)).squeeze(1), valid)

    def _log_step(
        self, signs: dict[str, Tensor], rollout: Rollout, logits: Tensor, score: Tensor, valid: Tensor
    ) -> None:
        there, every = rollout.there, None if rollout.valid is None else rollout.valid.unsqueeze(1)
        weight = valid if there is None else valid_weight(self, valid)
        signs["reward"] = mean_there(rollout.rewards, there, weight)
        signs["masked_score"] = mean_there(rollout.scores, there, weight)
        signs["clean_score"] = score.mean() if there is None else (score * weight).sum()
        signs["kept_share"] = mean_there(mean_over(rollout.masks, every), there, weight)
        signs["logit_spread"] = std_over(logits, rollout.valid).mean()
        if there is not None:
            signs["masks"] = (there.sum(1) * weight).sum()
        logged = self._log_signs(signs, len(valid))
        self.log("reward", logged["train/reward"], prog_bar=True, logger=False, batch_size=len(valid))
