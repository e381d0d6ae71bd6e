"""Explains the instances of a data set one after another, under the Trainer: resumable, shared out among ranks."""

import json
import time
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from typing import Any, Literal

import lightning.pytorch as pl
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor

from fex.benchmark.summary import finite
from fex.black_box import BlackBox
from fex.explanations import Explanation
from fex.images import Preprocess
from fex.masking.sampling import incorrect_classes
from fex.report.curves import draw_course
from fex.report.tables import print_table
from fex.sounds import LogMel
from fex.storage.atomic import replacing
from fex.types import Batch
from lightning_modules.boxes import bring_box
from lightning_modules.instances.checks import check_classes, check_sound
from lightning_modules.instances.explained import instance_explanation, instance_protocol, instance_scores
from lightning_modules.instances.scores import score_tables
from lightning_modules.instances.settings import instance_keys, run_settings
from lightning_modules.instances.sound import keep_sound
from lightning_modules.instances.store import InstanceStore
from lightning_modules.processes import patient_group, union_over_processes
from lightning_modules.sinks import Sink, TensorBoardSink, sinks, tell_without_pictures

__all__ = ["InstanceModule"]


class InstanceModule(pl.LightningModule):
    """Base of the per-instance explainers' modules.

    `fex-train` runs it over all instances of the data, in order. Each finished instance is a file in `output`; a run
    that was stopped goes on with the first that is not there. Under DDP every rank takes its share of the instances.

    Args:
        explainer: has a `black_box`.
        output: folder of the results.
        explain: the class that is explained: the "predicted" one, the true "label", or an "incorrect" one drawn by the
            pixels (a test of sensitivity: its map should not be that of the object).
        only: "all" instances, those the box gets right ("correct"), or wrong ("wrong", negative samples); by labels.
        protocols: names of protocols that score each instance, where the data has what they need. What is removed are
            single pixels; `dax` puts the explainer's own fill in their place, as its perturbations do.
        pictures: number of instances whose course is logged.
        sound: how spectrograms were made, where the inputs are some, as the data says it too: then each instance also
            has a picture of spectrogram, map and time curve, and, if batches carry waveforms, its masked sound as a wav
            file.

    Raises:
        ValueError: an unknown choice, or a protocol that needs explainers of other black boxes.
    """

    per_instance = True  # `fex-train` passes over the data once, in order
    together = 1  # instances that `explain_rows` works on at once, from the first on; they share its costs

    def __init__(
        self,
        explainer: Any,
        *,
        output: str,
        explain: Literal["predicted", "label", "incorrect"] = "predicted",
        only: Literal["all", "correct", "wrong"] = "all",
        protocols: list[str] | None = None,
        pictures: int = 8,
        sound: LogMel | None = None,
    ) -> None:
        super().__init__()
        if explain not in ("predicted", "label", "incorrect") or only not in ("all", "correct", "wrong"):
            raise ValueError(
                f"Got explain={explain!r} and only={only!r}, expected 'predicted', 'label' or 'incorrect', and 'all', "
                "'correct' or 'wrong'."
            )
        self.black_box: BlackBox = explainer.black_box
        self.explainer, self.output, self.target_kind, self.only = explainer, output, explain, only
        self.protocols, self.pictures = (
            [instance_protocol(name, explainer.removal) for name in protocols or []],
            pictures,
        )
        self.sound, self.store = sound, None
        self._own_writer: Any = None  # of a process that is not the first
        self._seen: set[str] = set()
        self._group: Any = None  # of all processes

    @property
    def needs_labels(self) -> bool:
        """Whether targets, the choice of instances or a protocol go by them."""
        by_label = self.target_kind == "label" or self.only != "all"
        return by_label or any("labels" in protocol.needs for protocol in self.protocols)

    @property
    def preprocess(self) -> Preprocess:
        """Geometry of the inputs; the datamodule reads it."""
        return self.black_box.preprocess

    @abstractmethod
    def explain_rows(self, inputs: Tensor, target: Tensor) -> Iterator[tuple[int, Tensor, Any]]:
        """Row, map (H, W) and its course, as each instance is finished; every row once, in any order."""

    @abstractmethod
    def log_course(self, sink: Sink, name: str, course: Any) -> None:
        """Writes what happened by epoch or iteration to a logger."""

    def course_maps(self, course: Any) -> list[Tensor]:  # noqa: ARG002
        """Maps (H, W) along the course that are to be scored each, the last one last; by default none."""
        return []

    def further_settings(self) -> dict[str, Any]:
        """Plain data on which what is kept depends, beside the explainer and the arguments of this class."""
        return {}

    def setup(self, stage: str) -> None:
        """Opens the folder; brings the black box to the device."""
        bring_box(self.black_box, self.device)
        check_sound(self.sound, getattr(self._trainer, "datamodule", None))
        arguments = {
            "explain": self.target_kind,
            "only": self.only,
            "protocols": [protocol.name for protocol in self.protocols],
            "sound": None if self.sound is None else asdict(self.sound),
            **self.further_settings(),
        }
        self.store = InstanceStore(self.output, run_settings(self.explainer, type(self), arguments))

    def _names(self, batch: Batch) -> list[str]:
        if "names" in batch:
            return list(batch["names"])
        return [f"{index:06d}" for index in batch["index"].tolist()]

    def _targets(self, batch: Batch, inputs: Tensor, clean: Tensor, rows: list[int]) -> Tensor:
        if self.target_kind == "predicted":
            return clean.argmax(1)
        if self.target_kind == "label":
            if "labels" not in batch:
                raise ValueError("`explain: label` needs labels; this data has none: use `predicted`.")
            return batch["labels"][rows]
        return incorrect_classes(inputs, clean, 1)

    def _chosen(self, batch: Batch, clean: Tensor, rows: list[int]) -> Tensor:
        if self.only == "all":
            return torch.ones(len(rows), dtype=torch.bool, device=clean.device)
        if "labels" not in batch:
            raise ValueError(f"`only: {self.only}` needs labels; this data has none: use `all`.")
        right = clean.argmax(1) == batch["labels"][rows]
        return right if self.only == "correct" else ~right

    def predict_step(self, batch: Batch, batch_idx: int) -> list[str]:
        """Explains what is not finished yet, and keeps each instance as soon as it is; names of the batch."""
        assert self.store is not None
        names, keys = self._names(batch), instance_keys(batch)
        valid = [row for row, is_valid in enumerate(batch["valid"].tolist()) if is_valid]
        self._seen.update(names[row] for row in valid)
        rows = [row for row in valid if not self.store.finished(names[row], keys[row])]
        if not rows:
            return names
        if self.target_kind == "label" or self.only != "all":
            check_classes(self.black_box, self.trainer.datamodule)  # type: ignore[attr-defined]
        for protocol in self.protocols:
            protocol.check_data(batch)
        clean = self.black_box(batch["inputs"][rows])
        chosen = self._chosen(batch, clean, rows)
        rows = [row for row, keep in zip(rows, chosen.tolist(), strict=True) if keep]
        if not rows:
            return names
        clean, inputs = clean[chosen], batch["inputs"][rows]
        target = self._targets(batch, inputs, clean, rows)
        queries, start = self.black_box.queries, time.perf_counter()
        spent, seconds = 0, 0.0
        for place, attribution, course in self.explain_rows(inputs, target):
            if place % self.together == 0:  # the first of those that were explained at once
                count = min(self.together, len(inputs) - place)
                spent = (self.black_box.queries - queries) // count
                seconds = (time.perf_counter() - start) / count
            one = slice(place, place + 1)
            explanation = instance_explanation(
                self.explainer, names[rows[place]], inputs[place], attribution, target[place], clean[place],
                chosen_by="black box" if self.target_kind == "predicted" else "user", queries=spent, seconds=seconds,
            )  # fmt: skip
            known = (batch, rows[place], inputs[one], clean[one], target[one])
            score = partial(instance_scores, self.explainer, self.protocols, *known)
            scores = score(attribution)
            for number, each in enumerate(self.course_maps(course)):
                scores |= {f"course/{number}/{name}": values for name, values in score(each).items()}
            self._keep(batch, rows[place], explanation, scores, keys[rows[place]])
            self._log(names[rows[place]], int(batch["index"][rows[place]]), course)
            queries, start = self.black_box.queries, time.perf_counter()
        return names

    def _keep(self, batch: Batch, row: int, explanation: Explanation, scores: dict[str, Tensor], key: str) -> None:
        """Writes what there is of one instance, its sound beside it."""
        assert self.store is not None
        if self.sound is not None:
            waveform, mask = (batch[name][row] if name in batch else None for name in ("waveforms", "masks"))  # type: ignore[literal-required]
            keep_sound(self.store.folder, explanation, self.sound, waveform, mask)
        self.store.save(explanation.source, explanation, scores, int(batch["index"][row]), key)

    def _log(self, name: str, order: int, course: Any) -> None:
        if order >= self.pictures:
            return
        own = self._own_writer
        for sink in sinks(self.trainer) if own is None else [TensorBoardSink(own)]:
            self.log_course(sink, name, course)

    def on_predict_start(self) -> None:
        """Lightning's logger writes in the first process alone; the others write what they explain beside it."""
        self._seen = set()
        if self.pictures:
            tell_without_pictures(self.trainer)
        if self.trainer.world_size == 1:
            return
        self._group = patient_group()
        folder = self.trainer.log_dir  # asks all processes
        if not self.trainer.is_global_zero and any(isinstance(each, TensorBoardLogger) for each in self.loggers):
            from torch.utils.tensorboard import SummaryWriter  # takes a second

            self._own_writer = SummaryWriter(folder, filename_suffix=f".rank{self.global_rank}")

    def on_predict_end(self) -> None:
        """The first process writes table, gallery and scores of the instances of this data that are finished."""
        assert self.store is not None
        if self._own_writer is not None:
            self._own_writer.close()
            self._own_writer = None
        self.store.names = union_over_processes(self._seen, self._group)
        if not self.trainer.is_global_zero:
            return
        count = self.store.report(f"{type(self.explainer).__name__} of {self.black_box.name}")
        others = sum(1 for _ in self.store.paths()) - count
        beside = f"; {others} more are there, which are not of this data" if others else ""
        print(f"{count} instances in {self.output} (gallery.html){beside}", flush=True)
        if self.protocols and count:
            rows, course = score_tables(self.store, self.protocols, type(self.explainer).__name__)
            report = {"rows": rows, "course": course}
            with replacing(self.store.folder / "report.json") as part:
                part.write_text(json.dumps(finite(report), indent=1, allow_nan=False))
            if course:
                draw_course(course, self.store.folder / "course.png")
            print_table(rows, title=f"{self.black_box.name}, {self.target_kind} class, {self.only} instances")
