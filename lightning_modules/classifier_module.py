"""Trains a classifier that then serves as a black box."""

from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import MeanMetric

from fex.nets.encoder import load_backbone
from fex.preprocess import Preprocess
from fex.types import Batch
from fex.weights import save_black_box
from lightning_modules.processes import valid_weight

__all__ = ["ClassifierModule"]


class ClassifierModule(pl.LightningModule):
    """A timm classifier, cross-entropy with label smoothing, one-cycle learning rate.

    Args:
        model: timm name (`conv_vit_tiny` is this project's).
        model_args: keyword arguments of that model, plain data.
        weights: local file or shipped name of a classifier's weights to start from; its head is taken where it fits.
        preprocess: geometry of its inputs.
        class_names: names of the classes, in label order.
        mean: mean of its normalisation, RGB in [0, 1].
        std: standard deviation of its normalisation.
        optimizer: builds the optimiser from the parameters; its learning rate is the schedule's peak.
        label_smoothing: share of the target mass spread over all classes.
        warmup: share of the steps over which the learning rate rises.
        channels_last: memory format.
        export: at the end of `fit`, also write the weights (bf16, safetensors) to this path.
    """

    def __init__(
        self,
        model: str,
        *,
        preprocess: Preprocess,
        class_names: list[str],
        model_args: dict[str, Any] | None = None,
        weights: str | None = None,
        mean: tuple[float, float, float] = (0.485, 0.456, 0.406),
        std: tuple[float, float, float] = (0.229, 0.224, 0.225),
        optimizer: OptimizerCallable = torch.optim.AdamW,
        label_smoothing: float = 0.1,
        warmup: float = 0.15,
        channels_last: bool = True,
        export: str | None = None,
    ) -> None:
        super().__init__()
        self.preprocess, self.optimizer = preprocess, optimizer
        self.label_smoothing, self.warmup = label_smoothing, warmup
        self.class_names, self.export = class_names, export
        self.meta = {
            "model": model,
            "model_args": {"num_classes": len(class_names), **(model_args or {})},
            "class_names": class_names,
            "preprocess": preprocess.to_dict(),
            "mean": list(mean),
            "std": list(std),
        }
        self.net, _ = load_backbone(model, weights, self.meta["model_args"], pretrained=False)
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)
        self.accuracy = MeanMetric()
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.net.to(memory_format=self.memory_format)

    def forward(self, inputs: Tensor) -> Tensor:
        """Inputs (B, 3, H, W) in [0, 1] -> logits (B, C)."""
        return self.net(((inputs - self.mean) / self.std).contiguous(memory_format=self.memory_format))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Cross-entropy on one batch."""
        logits = self(batch["inputs"])
        loss = F.cross_entropy(logits.float(), batch["labels"], label_smoothing=self.label_smoothing, reduction="none")
        loss = (loss * valid_weight(self, batch["valid"])).sum()  # rows without a readable picture teach nothing
        self.log("train/loss", loss, prog_bar=True)
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
        optimizer = self.optimizer(self.parameters())
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
            save_black_box(self.export, self.net, self.meta)
