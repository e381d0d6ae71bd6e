"""FEX: a Bernoulli mask policy trained by PPO against queries to a black box (paper, Algorithm 1)."""

from typing import Any, Literal

import lightning.pytorch as pl
import torch
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor
from torchmetrics import MeanMetric

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
from fex.explainer import explainer_meta
from fex.features import Features, PatchGrid
from fex.losses import (
    clip_fraction,
    clipped_surrogate_joint,
    clipped_surrogate_per_feature,
    explained_variance,
    kl_black_box_to_explainer,
    kl_explainer_to_black_box,
)
from fex.losses.objective import policy_terms
from fex.masking import masker_for
from fex.nets import Encoded, ExplainerNet
from fex.removal import Removal
from fex.rewards import BlankCorrectedRatio, Reward
from fex.rollout import Rollout, collect
from fex.types import Batch
from fex.valid import mean_over, std_over
from lightning_modules.schedule import warmup_cosine

__all__ = ["FEXModule"]

SURROGATES = {"joint": clipped_surrogate_joint, "per_feature": clipped_surrogate_per_feature}
DIVERGENCES = {
    "black_box_to_explainer": kl_black_box_to_explainer,
    "explainer_to_black_box": kl_explainer_to_black_box,
}


class FEXModule(pl.LightningModule):
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

    def __init__(
        self,
        black_box: BlackBox,
        features: PatchGrid | None,
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
        super().__init__()
        if min(num_masks, inner_epochs, minibatches) < 1:
            raise ValueError(
                f"num_masks, inner_epochs and minibatches must be at least 1, got {num_masks}, {inner_epochs}, "
                f"{minibatches}."
            )
        self.automatic_optimization = False
        self.black_box = black_box
        self.features: Features = features if features is not None else black_box.features
        self.explainer = explainer.build(black_box.num_classes, self.features)
        self.masker = masker_for(black_box, self.features, removal)
        self.removal = self.masker.removal
        self.reward = reward or BlankCorrectedRatio()
        self.num_masks, self.noise, self.exploration = num_masks, noise or Independent(), exploration or OnPolicy()
        self.baseline, self.control = baseline or ValueBaseline(), control or NoControl()
        self.surrogate, self.divergence = SURROGATES[surrogate], DIVERGENCES[divergence]
        self.joint_ratio = surrogate == "joint"
        self.clip_range, self.inner_epochs, self.minibatches, self.kl_stop = (
            clip_range, inner_epochs, minibatches, kl_stop,
        )  # fmt: skip
        self.entropy_weight, self.value_weight, self.kl_weight = entropy_weight, value_weight, kl_weight
        self.optimizer, self.warmup, self.decay, self.gradient_clip = optimizer, warmup, decay, gradient_clip
        self.seed = seed
        self.agreement = MeanMetric()
        self._blank: Tensor | None = None

    @property
    def preprocess(self) -> Any:
        """Geometry of the inputs, or their tokenizer; the datamodule reads it."""
        return self.black_box.preprocess

    @property
    def class_names(self) -> list[str]:
        """Names of the black box's classes."""
        return self.black_box.class_names

    def setup(self, stage: str) -> None:
        """Brings the black box to the device; it is no part of the module's state.

        Raises:
            ValueError: half precision, whose scaled gradients these updates would clip and count as overflows.
        """
        if stage == "fit" and str(self.trainer.precision) in ("16-mixed", "16-true"):
            raise ValueError(
                f"FEX got trainer.precision {self.trainer.precision}, whose gradients overflow: use bf16-mixed or "
                "32-true."
            )
        self.black_box.to(self.device)

    def forward(self, inputs: Tensor, target: Tensor | None = None) -> Tensor:
        """Keep probabilities lambda = g_y(x): inputs (B, ...) -> (B, N)."""
        return self.explainer(inputs, target)[0].sigmoid()

    @property
    def _world_size(self) -> int:
        return self._trainer.world_size if self._trainer is not None else 1

    @property
    def _queries(self) -> int:
        """Queries of all processes, which ask equally often."""
        return self.black_box.queries * self._world_size

    def _gather(self, rows: Tensor) -> Tensor:
        """Rows (B, ...) of every process, one after the other."""
        if self._world_size == 1:
            return rows
        found = rows.new_zeros(self._world_size, *rows.shape)
        found[self.global_rank] = rows
        return self.trainer.strategy.reduce(found, reduce_op="sum").flatten(0, 1)

    # -- one step ------------------------------------------------------------------------------------------------

    def _draw(self, batch_size: int, count: int | None = None) -> tuple[Tensor, Tensor]:
        """This rank's rows of the global batch's noise, a function of seed and step alone; `count` features of it."""
        trainer = self._trainer
        step = trainer.fit_loop.epoch_loop.total_batch_idx if trainer is not None else 0
        world, rank = self._world_size, trainer.global_rank if trainer is not None else 0
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + step)
        masks, budgets = self.noise((batch_size * world, self.num_masks, self.features.num_features), generator)
        rows = slice(rank * batch_size, (rank + 1) * batch_size)
        return masks[rows, :, :count].to(self.device), budgets[rows].to(self.device)

    def _blank_scores(self, inputs: Tensor, target: Tensor) -> Tensor:
        """f_y of the blank input, (B,); one query for all where the fill is constant."""
        if not self.reward.uses_blank:
            return torch.zeros(len(inputs), device=inputs.device)
        if not self.removal.constant:
            return self.black_box(self.masker.blank(inputs)).gather(1, target.unsqueeze(1)).squeeze(1)
        if self._blank is None:
            self._blank = self.black_box(self.masker.blank(inputs[:1]))
        return self._blank.to(inputs.device)[0, target]

    def _rollout(self, inputs: Tensor, target: Tensor, logits: Tensor) -> Rollout:
        """Draws masks from the policy and queries the black box."""
        return collect(
            self.black_box,
            self.masker,
            inputs,
            target,
            logits,
            self._draw(len(inputs), self.features.count(inputs)),
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
        signs["clip_fraction"] = clip_fraction(
            joint if self.joint_ratio else _decisions(terms.log_ratio, rollout.valid), self.clip_range
        )
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
        norm = torch.zeros((), device=inputs.device)
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

    def _step(self, optimizer: Any) -> Tensor:
        parameters = [p for p in self.explainer.parameters() if p.grad is not None]
        norm = torch.nn.utils.get_total_norm([p.grad for p in parameters])
        if not bool(torch.isfinite(norm)):
            raise ValueError(
                f"The gradient became {float(norm)} at step {self.global_step}. Lower the learning rate; the last "
                "checkpoint is still good."
            )
        if self.gradient_clip is not None:
            torch.nn.utils.clip_grads_with_norm_(parameters, self.gradient_clip, norm)
        optimizer.step()
        return norm

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
        every = None if rollout.valid is None else rollout.valid.unsqueeze(1)
        signs["kept_share"] = mean_over(rollout.masks, every).mean()
        signs["logit_spread"] = std_over(logits, rollout.valid).mean()
        values = torch.stack(list(signs.values()))
        if self._world_size > 1:  # one collective for all of them, instead of `sync_dist` for each
            values = self.trainer.strategy.reduce(values, reduce_op="mean")
        logged = {f"train/{name}": value for name, value in zip(signs, values, strict=True)}
        self.log_dict({**logged, "train/queries": float(self._queries)}, batch_size=batch_size)
        self.log("reward", logged["train/reward"], prog_bar=True, logger=False, batch_size=batch_size)

    # -- the rest ------------------------------------------------------------------------------------------------

    def _evaluate(self, batch: Batch) -> dict[str, Tensor]:
        """Attribution (B, N) of the black box's predicted class, and its clean probabilities (B, C)."""
        clean = self.black_box(batch["inputs"])
        logits, rates = self.explainer(batch["inputs"], clean.argmax(1))
        # A metric, not a logged mean: Lightning rounds the row counts of several processes.
        self.agreement.update(rates.argmax(1).eq(clean.argmax(1)).float(), batch["valid"].float())
        return {"attribution": self._attribution(logits, batch["inputs"]), "clean": clean}

    def _attribution(self, logits: Tensor, inputs: Tensor) -> Tensor:
        """Rates (B, N) from logits; 0 where there is no feature."""
        valid = self.features.valid(inputs)
        return logits.sigmoid() if valid is None else logits.sigmoid() * valid

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """What the scoring callbacks read; logs how often the explainer's own class is the black box's."""
        found = self._evaluate(batch)
        self.log("val/class_agreement", self.agreement, batch_size=len(batch["inputs"]))
        return found

    def test_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """As in validation."""
        found = self._evaluate(batch)
        self.log("test/class_agreement", self.agreement, batch_size=len(batch["inputs"]))
        return found

    def predict_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """One pass: attribution (B, N), target (B,), index (B,)."""
        logits, rates = self.explainer(batch["inputs"])
        valid = batch["valid"]
        attribution = self._attribution(logits, batch["inputs"])
        found = {"attribution": attribution, "target": rates.argmax(1), "index": batch["index"]}
        return {name: tensor[valid].cpu() for name, tensor in found.items()}

    def configure_optimizers(self) -> dict[str, Any]:
        """The optimiser over trainable parameters, and its schedule over batches."""
        optimizer = self.optimizer([p for p in self.explainer.parameters() if p.requires_grad])
        schedule = warmup_cosine(optimizer, self._total_batches(), self.warmup, cosine=self.decay == "cosine")
        return {"optimizer": optimizer, "lr_scheduler": schedule}

    def _total_batches(self) -> int:
        """Batches of the whole run; `max_steps` counts optimiser steps, of which a batch takes several."""
        trainer = self.trainer
        trainer.fit_loop.setup_data()
        total = float("inf")
        if trainer.max_epochs is not None and trainer.max_epochs >= 0:
            total = trainer.num_training_batches * trainer.max_epochs
        if trainer.max_steps >= 0:
            total = min(total, trainer.max_steps / (self.inner_epochs * self.minibatches))
        if total == float("inf"):
            if self.decay == "cosine" or self.warmup > 0:
                raise ValueError("A warm-up or cosine schedule needs an end: set trainer.max_epochs or max_steps.")
            return 1
        return max(1, int(total))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds what `fex.load_explainer` needs: plain data."""
        checkpoint["fex"] = explainer_meta(self.explainer, self.black_box, self.removal)
        checkpoint["fex_queries"] = self._queries

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Checks that the checkpoint is of the same explainer, and goes on counting queries."""
        found, own = checkpoint.get("fex"), explainer_meta(self.explainer, self.black_box, self.removal)
        if found is None:
            raise ValueError("This checkpoint is no FEX checkpoint (it has no `fex` entry): give one of the same run.")
        for key in ("net", "modality", "grid", "class_names"):
            before = found.get(key, "image" if key == "modality" else None)  # older checkpoints are all of images
            if before != own[key]:
                raise ValueError(f"The checkpoint's {key} is {before}, this run's is {own[key]}: they must agree.")
        self.black_box.queries = checkpoint["fex_queries"] // self._world_size


def _decisions(log_ratio: Tensor, valid: Tensor | None) -> Tensor:
    """Log-ratios (B, K, N) of the decisions that were taken: all, or those of features (B, N), one after the other."""
    return log_ratio if valid is None else log_ratio.transpose(1, 2)[valid]
