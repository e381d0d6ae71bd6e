"""Scores explanations by named protocols in validation and test."""

from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from fex.metrics.label_classes import check_labels
from fex.metrics.protocol_scores import ProtocolScores
from fex.metrics.protocols import Attributed, get_protocol
from fex.report.curves import curve_picture
from fex.types import Batch
from lightning_modules.sinks import sinks, tell_without_pictures

__all__ = ["ExplanationScores"]


class ExplanationScores(pl.Callback):
    """Logs `val/fex/positive_auc` and the like; in `test` with their bootstrap intervals, as a table too.

    Reads what the module's validation and test steps return: attribution (B, N) and clean (B, C).

    Args:
        protocols: names of protocols (`fex.metrics.PROTOCOLS`).
        limit: instances a process scores in each validation; None scores all. Tests score all.
        seed: seed of ties.
    """

    def __init__(self, protocols: list[str] | None = None, limit: int | None = 500, seed: int = 0) -> None:
        self.names = protocols or ["fex"]
        for name in self.names:
            get_protocol(name)  # an unknown name fails before training, not after its first epoch
        self.limit, self.seed = limit, seed
        self.scores: dict[str, ProtocolScores] = {}
        self.seen = 0

    def setup(self, trainer: pl.Trainer, pl_module: Any, stage: str) -> None:
        """Compares the classes of labels and black box, where labels are scored.

        Raises:
            ValueError: they are not the same.
        """
        tell_without_pictures(trainer)
        for warning in check_labels(pl_module.black_box, getattr(trainer, "datamodule", None), self.names):
            rank_zero_warn(warning)

    def _start(self, module: pl.LightningModule) -> None:
        self.scores = {name: ProtocolScores(name).to(module.device) for name in self.names}
        self.seen = 0

    def _add(self, module: Any, outputs: dict[str, Tensor], batch: Batch, limit: int | None) -> None:
        if limit is not None and self.seen >= limit:
            return
        self.seen += len(batch["inputs"])
        inputs, attribution = batch["inputs"], outputs["attribution"].float()
        data = Attributed(
            inputs,
            attribution,
            module.features.maps(attribution, inputs),
            module.features,
            outputs["clean"],
            batch.get("labels"),
            batch.get("masks"),
            batch.get("words"),
            ignored=batch.get("ignored"),
        )
        for name, scores in self.scores.items():
            components = get_protocol(name).evaluate(module.black_box, data, seed=self.seed)
            scores.update(components, batch["index"], batch["valid"])

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Empties the metrics."""
        self._start(pl_module)

    def on_validation_batch_end(
        self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Scores a batch."""
        self._add(pl_module, outputs, batch, self.limit)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Logs the means, and the curves where the protocol has them."""
        for name, scores in self.scores.items():
            self._log_curves(trainer, name, scores)
            for metric, value in scores.compute().items():
                pl_module.log(
                    f"val/{name}/{metric}", value.float(), prog_bar=metric.endswith(("auc", "f1")), rank_zero_only=True
                )

    def _log_curves(self, trainer: pl.Trainer, name: str, scores: ProtocolScores) -> None:
        """The protocol's curves as pictures, each of one tag by step."""
        with scores.sync_context():
            curves = scores.curves()
        found = [] if trainer.sanity_checking else sinks(trainer)
        for component, curve in curves.items() if found else ():
            method = getattr(trainer.lightning_module, "method", type(trainer.lightning_module).__name__)
            picture = curve_picture({method: curve}, f"{name}: {component.replace('_', ' ')}")
            for sink in found:
                sink.picture(f"curves/{name}/{component}", picture, trainer.global_step)

    on_test_epoch_start = on_validation_epoch_start

    def on_test_batch_end(
        self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Scores a batch."""
        self._add(pl_module, outputs, batch, None)

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Logs means and 95 % intervals, and a table of them."""
        rows = []
        for name, scores in self.scores.items():
            with scores.sync_context():
                for metric, (interval, count) in scores.intervals().items():
                    rows.append([name, metric, *(round(float(x), 4) for x in interval), int(count)])
                    for suffix, value in (("", interval.value), ("/low", interval.low), ("/high", interval.high)):
                        pl_module.log(f"test/{name}/{metric}{suffix}", value, rank_zero_only=True)
                    pl_module.log(f"test/{name}/{metric}/n", float(count), rank_zero_only=True)
        for sink in sinks(trainer):
            sink.table("test/scores", ["protocol", "metric", "mean", "low", "high", "n"], rows, trainer.global_step)
