"""What the trainers of classifiers share: cross-entropy, accuracy, a one-cycle learning rate."""

from abc import abstractmethod
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import MeanMetric

from fex.types import Batch
from lightning_modules.processes import valid_weight

__all__ = ["Classification"]


class Classification(pl.LightningModule):
    """Base of the trainers of classifiers: subclasses give `forward` and `write`.

    Args:
        class_names: names of the classes, in label order.
        optimizer: builds the optimiser from the trainable parameters; its learning rate is the schedule's peak.
        label_smoothing: share of the target mass spread over all classes.
        warmup: share of the steps over which the learning rate rises.
        export: at the end of `fit`, also write the weights (bf16, safetensors) to this path.
    """

    def __init__(
        self,
        class_names: list[str],
        *,
        optimizer: OptimizerCallable = torch.optim.AdamW,
        label_smoothing: float = 0.1,
        warmup: float = 0.15,
        export: str | None = None,
    ) -> None:
        super().__init__()
        self.class_names, self.optimizer = class_names, optimizer
        self.label_smoothing, self.warmup, self.export = label_smoothing, warmup, export
        self.accuracy = MeanMetric()

    @abstractmethod
    def forward(self, inputs: Tensor) -> Tensor:
        """Inputs (B, ...), as the datamodule gives them -> logits (B, C)."""

    @abstractmethod
    def write(self, path: str) -> None:
        """Writes the weights so that `fex.load_black_box(path)` restores the classifier."""

    def on_fit_start(self) -> None:
        """Compares the classes with those of the data.

        Raises:
            ValueError: the data has other classes, or the same in another order.
        """
        found = getattr(self.trainer.datamodule, "class_names", None)  # type: ignore[attr-defined]
        if found is not None and list(found) != list(self.class_names):
            raise ValueError(
                f"The classes of the data are {list(found)[:10]} ({len(found)}), those of the model "
                f"{list(self.class_names)[:10]} ({len(self.class_names)}): set --model.init_args.class_names to the "
                "data's, in their order."
            )

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Cross-entropy on one batch."""
        logits = self(batch["inputs"])
        loss = F.cross_entropy(logits.float(), batch["labels"], label_smoothing=self.label_smoothing, reduction="none")
        loss = (loss * valid_weight(self, batch["valid"])).sum()  # rows without a readable input teach nothing
        self.log("train/loss", loss, prog_bar=True, batch_size=len(logits))
        return loss

    def _evaluate(self, batch: Batch, stage: str) -> None:
        correct = self(batch["inputs"]).argmax(1).eq(batch["labels"])
        # A metric, not a logged mean: Lightning rounds the row counts of several processes.
        self.accuracy.update(correct.float(), batch["valid"].float())
        self.log(f"{stage}/accuracy", self.accuracy, prog_bar=True, batch_size=len(correct))

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Logs the accuracy."""
        self._evaluate(batch, "val")

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Logs the accuracy."""
        self._evaluate(batch, "test")

    def configure_optimizers(self) -> dict[str, Any]:
        """The optimiser with a one-cycle schedule, stepped every batch."""
        optimizer = self.optimizer([p for p in self.parameters() if p.requires_grad])
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer,
            max_lr=optimizer.param_groups[0]["lr"],
            total_steps=int(self.trainer.estimated_stepping_batches),
            pct_start=self.warmup,
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_fit_end(self) -> None:
        """Writes the exported weights."""
        if self.export and self.trainer.is_global_zero:
            self.write(self.export)
