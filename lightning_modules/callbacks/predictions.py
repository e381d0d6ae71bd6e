"""Writes what `predict` finds as it comes, like `fex-explain` does."""

import heapq
import json
import logging
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as pl

from fex.explanations import Explanation, TextExplanation
from fex.report.folder import ResultFolder, Written, inside, write_files
from fex.report.text_folder import TEXT_FORMATS, TextResultFolder, WrittenText, check_formats, written_text
from fex.storage.names import printable
from fex.types import Batch
from lightning_modules.base import AmortizedModule
from lightning_modules.processes import patient_group, union_over_processes

__all__ = ["PredictionWriter"]

log = logging.getLogger("lightning_modules")

_PICTURE_FORMATS = ("png", "npz", "json")
_AHEAD = 64  # results a thread begun and not yet in the table


def _part_name(rank: int) -> str:
    return f".part-{rank}.jsonl"


class PredictionWriter(pl.Callback):
    """Explanations of all predictions, in constant memory: files for each picture, lines for each text, a gallery.

    They go to `predictions/` beside the saved configuration of the run. Threads write them behind the passes. Several
    processes write the files of their pictures there, and note what belongs into table and gallery in a part each; the
    first process merges these into one result, in the order of the data, as one process alone would have written it.

    Args:
        formats: of pictures, files for each: png, jpg, webp, html, npz and json (png, npz and json by default); of
            texts jsonl (words, scores, character spans), csv and html (all by default).
    """

    def __init__(self, formats: Sequence[str] | None = None) -> None:
        self.formats = formats
        self._results: ResultFolder | TextResultFolder | None = None
        self._part: Any = None  # of several processes
        self._pool: ThreadPoolExecutor | None = None
        self._pending: deque[tuple[int, Future[Any]]] = deque()

    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Opens the folder.

        Raises:
            TypeError: a module that predicts no attributions.
            ValueError: an unknown format.
        """
        if not isinstance(pl_module, AmortizedModule):
            raise TypeError(f"PredictionWriter writes attributions; {type(pl_module).__name__} predicts none.")
        self._folder = Path(trainer.log_dir or trainer.default_root_dir) / "predictions"
        note = f"{pl_module.method} explains {pl_module.black_box.name} · {pl_module.removal.name} removal"
        self._of_texts = pl_module.features.modality == "text"
        self._formats = tuple(self.formats or (TEXT_FORMATS if self._of_texts else _PICTURE_FORMATS))
        kind = TextResultFolder if self._of_texts else ResultFolder
        self._open = partial(kind, self._folder, note=note, formats=self._formats)
        self._group = patient_group()
        if trainer.world_size == 1:
            self._results = self._open()
        else:
            if self._of_texts:
                check_formats(self._formats)
            self._folder.mkdir(parents=True, exist_ok=True)
            self._part = (self._folder / _part_name(trainer.global_rank)).open("w", encoding="utf-8")
        threads = max(1, min(8, (os.cpu_count() or 1) // trainer.num_devices))
        self._pool, self._most = ThreadPoolExecutor(threads, "write"), _AHEAD * threads

    def on_predict_batch_end(
        self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Batch, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Hands one batch to the threads, but for inputs that could not be read and rows that pad.

        Raises:
            ValueError: texts of a datamodule that does not hand them on.
        """
        assert self._pool is not None
        rows = batch["valid"].nonzero().flatten().tolist()
        numbers = batch["index"].tolist()
        names = batch.get("names") or [f"{index:08d}" for index in numbers]
        named = [self._named(pl_module, outputs, place, names[row]) for place, row in enumerate(rows)]
        make = self._texts if self._of_texts else self._pictures
        for row, work in zip(rows, make(pl_module, outputs["attribution"], batch, rows, names, named), strict=True):
            self._pending.append((numbers[row], self._pool.submit(work)))
            while len(self._pending) > self._most:
                self._settle()

    def _pictures(
        self, pl_module: Any, maps: Any, batch: Batch, rows: list[int], names: Any, named: list[dict[str, Any]]
    ) -> Iterator[Callable[[], Written]]:
        pictures = batch["inputs"].float().cpu()
        for row, values, fields in zip(rows, maps, named, strict=True):
            found = Explanation(values, pl_module.features, pl_module.preprocess.size, pictures[row], **fields)
            yield partial(write_files, self._folder, self._formats, inside(names[row]), [found])

    def _texts(
        self, pl_module: Any, maps: Any, batch: Batch, rows: list[int], names: Any, named: list[dict[str, Any]]
    ) -> Iterator[Callable[[], WrittenText]]:
        if "texts" not in batch:
            raise ValueError(
                "PredictionWriter needs the texts themselves, as `texts` of each batch: give the datamodule's "
                "TextRows `keep_texts=True` for prediction."
            )
        texts = [batch["texts"][row] for row in rows]
        read = pl_module.preprocess.many(texts)
        for text, tokens, scores, fields in zip(texts, read, maps, named, strict=True):
            yield partial(written_text, self._formats, [TextExplanation.of_tokens(text, tokens, scores, **fields)])

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

    def _settle(self) -> None:
        """Adds the oldest result that the threads have in hand."""
        number, future = self._pending.popleft()
        written = future.result()
        if self._part is not None:
            self._part.write(json.dumps([number, written.to_dict()]) + "\n")
        else:
            self._add(self._results, written)

    @staticmethod
    def _add(results: Any, written: Written | WrittenText) -> None:
        (results.add if isinstance(written, Written) else results.add_written)(written)

    def _close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
        self._pending.clear()
        if self._part is not None:
            self._part.close()
        if self._results is not None:
            self._results.__exit__(None, None, None)
        self._pool = self._part = self._results = None

    def on_predict_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Ends table and gallery; of several processes, the first waits for all and merges what they noted."""
        while self._pending:
            self._settle()
        self._close()
        if trainer.world_size > 1:
            parts = union_over_processes({_part_name(trainer.global_rank)}, self._group)
            if trainer.is_global_zero:
                self._merge([self._folder / name for name in sorted(parts)])
        if trainer.is_global_zero:
            print(f"results: {self._folder}")

    def _merge(self, parts: Sequence[Path]) -> None:
        there = [part for part in parts if part.is_file()]
        if len(there) < len(parts):
            log.warning(
                "%d of %d processes wrote their results to the disk of another machine: they are in %s there, and not "
                "in this table and gallery. Give --trainer.default_root_dir on a disk that all machines share.",
                len(parts) - len(there), len(parts), self._folder,
            )  # fmt: skip
        with self._open() as results:
            for _, written in heapq.merge(*map(_lines, there), key=lambda line: line[0]):
                self._add(results, (WrittenText if self._of_texts else Written).of(written))
        for part in there:
            part.unlink()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Keeps what was written so far."""
        self._close()


def _lines(part: Path) -> Iterator[list[Any]]:
    with part.open(encoding="utf-8") as file:
        yield from map(json.loads, file)
