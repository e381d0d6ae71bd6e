"""What trainings of amortized explainers share: black box, optimiser steps, evaluation, checkpoints."""

from abc import abstractmethod
from typing import Any, ClassVar

import lightning.pytorch as pl
import torch
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor
from torchmetrics import MeanMetric

from fex.black_box import BlackBox
from fex.estimators import Noise
from fex.explainer import explainer_meta
from fex.features import PatchGrid
from fex.masking import Masker
from fex.nets import ClassMapNet
from fex.preprocess import Preprocess
from fex.removal import Mean, Removal
from fex.types import Batch
from lightning_modules.schedule import warmup_cosine

__all__ = ["AmortizedModule"]


class AmortizedModule(pl.LightningModule):
    """Base: a network that is trained against queries to a black box. Optimisation is manual.

    Args:
        black_box: what is explained; queried only.
        features: N features.
        explainer: the network.
        removal: what stands in for a removed feature.
        num_masks: masks an instance and step.
        noise: randomness of the masks.
        optimizer: builds the optimiser from the parameters.
        warmup: share of training over which the learning rate rises.
        decay: "cosine" to zero at the end, or "constant".
        gradient_clip: largest gradient norm; None does not clip.
        seed: seed of the masks.

    Attributes:
        method: what results call the explainer.
        updates: optimiser steps a batch.
    """

    method: ClassVar[str]
    updates: int = 1

    def __init__(
        self,
        black_box: BlackBox,
        features: PatchGrid,
        explainer: ClassMapNet,
        removal: Removal | None,
        *,
        num_masks: int,
        noise: Noise,
        optimizer: OptimizerCallable,
        warmup: float,
        decay: str,
        gradient_clip: float | None,
        seed: int,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.black_box, self.features = black_box, features
        self.explainer = explainer.build(black_box.num_classes, features)
        self.removal = removal or Mean()
        self.masker = Masker(features, self.removal, black_box.mean)
        self.num_masks, self.noise, self.seed = num_masks, noise, seed
        self.optimizer, self.warmup, self.decay, self.gradient_clip = optimizer, warmup, decay, gradient_clip
        self.agreement = MeanMetric()
        self._blank: Tensor | None = None

    @property
    def preprocess(self) -> Preprocess:
        """Geometry of the inputs; the datamodule reads it."""
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
                f"{type(self).__name__} got trainer.precision {self.trainer.precision}, whose gradients overflow: use "
                "bf16-mixed or 32-true."
            )
        self.black_box.to(self.device)

    def forward(self, inputs: Tensor, target: Tensor | None = None) -> Tensor:
        """Attribution of the classes `target` (B,): inputs (B, 3, H, W) in [0, 1] -> (B, N)."""
        return self.explainer.explain(inputs, target)[0]

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

    def _draw(self, batch_size: int) -> tuple[Tensor, Tensor]:
        """This rank's rows of the global batch's noise, a function of seed and step alone."""
        trainer = self._trainer
        step = trainer.fit_loop.epoch_loop.total_batch_idx if trainer is not None else 0
        world, rank = self._world_size, trainer.global_rank if trainer is not None else 0
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + step)
        masks, budgets = self.noise((batch_size * world, self.num_masks, self.features.num_features), generator)
        rows = slice(rank * batch_size, (rank + 1) * batch_size)
        return masks[rows].to(self.device), budgets[rows].to(self.device)

    def _blank_probabilities(self, inputs: Tensor) -> Tensor:
        """F of the blank input, (B, C); one query for all where the fill is constant."""
        if not self.removal.constant:
            return self.black_box(self.masker.blank(inputs))
        if self._blank is None:
            self._blank = self.black_box(self.masker.blank(inputs[:1]))
        return self._blank.to(inputs.device).expand(len(inputs), -1)

    @abstractmethod
    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """Queries, then updates."""

    def _step(self, optimizer: Any) -> Tensor:
        """One optimiser step on the gradients at hand; returns their norm before clipping."""
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

    def _log_signs(self, signs: dict[str, Tensor], batch_size: int) -> None:
        """Logs the scalars `signs` as `train/...`, means over processes, with the queries so far."""
        values = torch.stack(list(signs.values()))
        if self._world_size > 1:  # one collective for all of them, instead of `sync_dist` for each
            values = self.trainer.strategy.reduce(values, reduce_op="mean")
        logged = {f"train/{name}": value for name, value in zip(signs, values, strict=True)}
        self.log_dict({**logged, "train/queries": float(self._queries)}, batch_size=batch_size)

    def _evaluate(self, batch: Batch) -> dict[str, Tensor]:
        """Attribution (B, N) of the black box's predicted class, and its clean probabilities (B, C)."""
        clean = self.black_box(batch["inputs"])
        attribution, classes = self.explainer.explain(batch["inputs"], clean.argmax(1))
        # A metric, not a logged mean: Lightning rounds the row counts of several processes.
        self.agreement.update(classes.argmax(1).eq(clean.argmax(1)).float(), batch["valid"].float())
        return {"attribution": attribution, "clean": clean}

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
        attribution, classes = self.explainer.explain(batch["inputs"])
        valid = batch["valid"]
        found = {"attribution": attribution, "target": classes.argmax(1), "index": batch["index"]}
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
            total = min(total, trainer.max_steps / self.updates)
        if total == float("inf"):
            if self.decay == "cosine" or self.warmup > 0:
                raise ValueError("A warm-up or cosine schedule needs an end: set trainer.max_epochs or max_steps.")
            return 1
        return max(1, int(total))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds what `fex.load_explainer` needs: plain data."""
        checkpoint["fex"] = explainer_meta(self.explainer, self.black_box, self.removal, self.method)
        checkpoint["fex_queries"] = self._queries

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Checks that the checkpoint is of the same explainer, and goes on counting queries."""
        found, own = checkpoint.get("fex"), explainer_meta(self.explainer, self.black_box, self.removal, self.method)
        if found is None:
            raise ValueError("This checkpoint is no FEX checkpoint (it has no `fex` entry): give one of the same run.")
        for key in ("net", "grid", "class_names"):
            if found[key] != own[key]:
                raise ValueError(f"The checkpoint's {key} is {found[key]}, this run's is {own[key]}: they must agree.")
        self.black_box.queries = checkpoint["fex_queries"] // self._world_size
