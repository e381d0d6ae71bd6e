"""Writes what `predict` finds as it comes, like `fex-explain` does."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl

from fex.explanations import Explanation, TextExplanation
from fex.report.folder import ResultFolder, inside
from fex.report.text_folder import TextResultFolder
from fex.storage.names import printable
from fex.types import Batch
from lightning_modules.base import AmortizedModule

__all__ = ["PredictionWriter"]


class PredictionWriter(pl.Callback):
    """Explanations of all predictions, in constant memory: files for each picture, lines for each text, a gallery.

    They go to `predictions/` beside the saved configuration of the run; of several processes, each to its own
    `rank<R>` there.

    Args:
        formats: of pictures, files for each: png, html, npz and json (all but html by default); of texts jsonl (words,
            scores, character spans), csv and html (all by default).
    """

    def __init__(self, formats: Sequence[str] | None = None) -> None:
        self.formats = formats
        self._results: ResultFolder | TextResultFolder | None = None

    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Opens the folder.

        Raises:
            TypeError: a module that predicts no attributions.
        """
        if not isinstance(pl_module, AmortizedModule):
            raise TypeError(f"PredictionWriter writes attributions; {type(pl_module).__name__} predicts none.")
        folder = Path(trainer.log_dir or trainer.default_root_dir) / "predictions"
        if trainer.world_size > 1:
            folder /= f"rank{trainer.global_rank}"
        options: dict[str, Any] = {} if self.formats is None else {"formats": tuple(self.formats)}
        note = f"{pl_module.method} explains {pl_module.black_box.name} · {pl_module.removal.name} removal"
        kind = TextResultFolder if pl_module.features.modality == "text" else ResultFolder
        self._results = kind(folder, note=note, **options)

    def on_predict_batch_end(
        self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Batch, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Writes one batch, but for inputs that could not be read and rows that pad.

        Raises:
            ValueError: texts of a datamodule that does not hand them on.
        """
        results, rows = self._results, batch["valid"].nonzero().flatten().tolist()
        names = batch.get("names") or [f"{index:08d}" for index in batch["index"].tolist()]
        named = [self._named(pl_module, outputs, place, names[row]) for place, row in enumerate(rows)]
        if isinstance(results, TextResultFolder):
            if "texts" not in batch:
                raise ValueError(
                    "PredictionWriter needs the texts themselves, as `texts` of each batch: give the datamodule's "
                    "TextRows `keep_texts=True` for prediction."
                )
            texts = [batch["texts"][row] for row in rows]
            read = pl_module.preprocess.many(texts)
            for text, tokens, scores, fields in zip(texts, read, outputs["attribution"], named, strict=True):
                results.add([TextExplanation.of_tokens(text, tokens, scores, **fields)])
        elif results is not None:
            size = pl_module.preprocess.size
            for row, values, fields in zip(rows, outputs["attribution"], named, strict=True):
                picture = batch["inputs"][row].float().cpu()
                path = inside(names[row])
                explanation = Explanation(values, pl_module.features, size, picture, **fields)
                results.add(results.write(path, [explanation]))

    @staticmethod
    def _named(pl_module: Any, outputs: Any, place: int, name: str) -> dict[str, Any]:
        target = int(outputs["target"][place])
        return {
            "target": target,
            "target_name": pl_module.class_names[target],
            "probability": float(outputs["probability"][place]),
            "probability_of": "black box",
            "chosen_by": "black box",
            "queries": 1,
            "span": pl_module.explainer.span,
            "method": pl_module.method,
            "removal": pl_module.removal.name,
            "black_box": pl_module.black_box.name,
            "source": printable(name),
        }

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
