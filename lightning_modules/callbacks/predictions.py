"""Writes what `predict` finds as it comes, like `fex-explain` does."""

import logging
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any

import lightning.pytorch as pl

from fex.explanation import Explanation, printable
from fex.report.folder import ResultFolder
from fex.types import Batch
from lightning_modules.base import AmortizedModule

__all__ = ["PredictionWriter"]

log = logging.getLogger("lightning_modules")


class PredictionWriter(pl.Callback):
    """Pictures, arrays, a table and a gallery of all predictions, in constant memory.

    They go to `predictions/` beside the saved configuration of the run; of several processes, each to its own
    `rank<R>` there.

    Args:
        formats: files for each explanation, of png, html, npz and json.
    """

    def __init__(self, formats: Sequence[str] = ("png", "npz", "json")) -> None:
        self.formats = tuple(formats)
        self._results: ResultFolder | None = None

    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Opens the folder.

        Raises:
            TypeError: a module that predicts no attributions.
        """
        if not isinstance(pl_module, AmortizedModule):
            raise TypeError(f"PredictionWriter writes attributions; {type(pl_module).__name__} predicts none.")
        if pl_module.features.modality != "image":
            log.warning("Predictions of texts are not written: `fex-explain` on the checkpoint writes them.")
            return
        folder = Path(trainer.log_dir or trainer.default_root_dir) / "predictions"
        if trainer.world_size > 1:
            folder /= f"rank{trainer.global_rank}"
        note = f"FEX explains {pl_module.black_box.name} · {pl_module.removal.name} removal"
        self._results = ResultFolder(folder, formats=self.formats, note=note)

    def on_predict_batch_end(
        self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Batch, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Writes one batch, but for pictures that could not be read and rows that pad."""
        results, valid = self._results, batch["valid"].tolist()
        if results is None:
            return
        names = batch.get("names") or [f"{index:08d}" for index in batch["index"].tolist()]
        for place, row in enumerate(row for row, readable in enumerate(valid) if readable):
            name = names[row]
            target = int(outputs["target"][place])
            explanation = Explanation(
                attribution=outputs["attribution"][place],
                features=pl_module.features,
                size=pl_module.preprocess.size,
                target=target,
                target_name=pl_module.class_names[target],
                probability=float(outputs["probability"][place]),
                probability_of="explainer",
                method="FEX",
                removal=pl_module.removal.name,
                black_box=pl_module.black_box.name,
                source=printable(name),
                image=batch["inputs"][row].float().cpu(),
            )
            # A name must not lead out of the folder.
            path = PurePath(*(part for part in PurePath(name).parts if part not in ("..", "/")))
            results.add(results.write(path, [explanation]))

    def _close(self) -> None:
        if self._results is not None:
            self._results.__exit__(None, None, None)
            self._results = None

    def on_predict_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Ends table and gallery."""
        if trainer.is_global_zero and self._results is not None:
            print(f"results: {self._results.folder}")
        self._close()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Keeps what was written so far."""
        self._close()
