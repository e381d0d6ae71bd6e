"""Watches whether the maps of two classes of one image differ."""

from typing import Any

import lightning.pytorch as pl
from torchmetrics import MeanMetric

from fex.metrics.functional.correlation import class_correlation

__all__ = ["ClassCorrelation"]


class ClassCorrelation(pl.Callback):
    """Logs `val/class_correlation`, and in test `test/class_correlation`.

    The rank correlation, over an image's features, between the attributions of the black box's first and second class,
    averaged over the images: 1 for an explainer that ignores the class. What the KL term of the paper (eq. 24) is for.
    One more explainer pass an image, no queries: it reads what the module's steps return, `clean` (B, C) and the
    `attribution` (B, N) of its first class.
    Images of one constant map have no order and are left out.
    """

    def __init__(self) -> None:
        self.mean = MeanMetric()

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Starts over."""
        self.mean = MeanMetric().to(pl_module.device)

    def on_validation_batch_end(
        self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Adds a batch."""
        second = outputs["clean"].topk(2, dim=1).indices[:, 1]
        other = pl_module.explainer.explain(batch["inputs"], second)[0]
        correlation = class_correlation(outputs["attribution"].float(), other.float())
        known = batch["valid"] & correlation.isfinite()
        self.mean.update(correlation.nan_to_num(), known.float())

    def _log(self, module: pl.LightningModule, stage: str) -> None:
        module.log(f"{stage}/class_correlation", self.mean.compute(), rank_zero_only=True)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Logs the mean over the images of all processes."""
        self._log(pl_module, "val")

    on_test_epoch_start, on_test_batch_end = on_validation_epoch_start, on_validation_batch_end

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """The same of a test."""
        self._log(pl_module, "test")
