"""Where pictures, tables and numbers of a run go beside Lightning's own metrics: to each logger in its own way."""

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any
from weakref import WeakSet

import lightning.pytorch as pl
import numpy as np
from lightning.pytorch.utilities import rank_zero_info

__all__ = ["Sink", "TensorBoardSink", "sinks", "tell_without_pictures"]

_TOLD: "WeakSet[Any]" = WeakSet()


class Sink(ABC):
    """One logger; pictures are (H, W, 3), uint8, and tags have slashes."""

    def __init__(self, logger: Any) -> None:
        self.logger = logger

    @abstractmethod
    def picture(self, tag: str, pixels: np.ndarray, step: int) -> None:
        """Shows a picture, in a row with those of other steps of this tag."""

    @abstractmethod
    def table(self, tag: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], step: int) -> None:
        """Shows a table."""

    def number(self, tag: str, value: float, step: int) -> None:
        """A point of a curve whose steps are not those of the training."""
        self.logger.log_metrics({tag: value}, step)


class TensorBoardSink(Sink):
    """TensorBoard, or what has its writer: made of that writer."""

    def picture(self, tag: str, pixels: np.ndarray, step: int) -> None:
        self.logger.add_image(tag, pixels, step, dataformats="HWC")

    def table(self, tag: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], step: int) -> None:
        self.logger.add_text(tag, _markdown(columns, rows), step)

    def number(self, tag: str, value: float, step: int) -> None:
        self.logger.add_scalar(tag, value, step)


class WandbSink(Sink):
    """Weights & Biases, or what has its `log_image` and `log_table`."""

    def picture(self, tag: str, pixels: np.ndarray, step: int) -> None:
        self.logger.log_image(tag, [pixels], step)

    def table(self, tag: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], step: int) -> None:
        self.logger.log_table(tag, columns=list(columns), data=[list(row) for row in rows], step=step)


class MLflowSink(Sink):
    """MLflow: pictures by step, tables as files of Markdown; tags without the signs that it refuses."""

    def picture(self, tag: str, pixels: np.ndarray, step: int) -> None:
        self.logger.experiment.log_image(self.logger.run_id, pixels, key=_plain(tag), step=step)

    def table(self, tag: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], step: int) -> None:
        self.logger.experiment.log_text(self.logger.run_id, _markdown(columns, rows), f"{_plain(tag)}/{step}.md")

    def number(self, tag: str, value: float, step: int) -> None:
        super().number(_plain(tag), value, step)


def sinks(trainer: pl.Trainer) -> list[Sink]:
    """One for each logger of a run that takes pictures; none in processes other than the first."""
    return [sink for logger in trainer.loggers if (sink := _sink(logger))] if trainer.is_global_zero else []


def _sink(logger: Any) -> Sink | None:
    """By what a logger has, not by its class: others are built alike."""
    if hasattr(logger, "log_image") and hasattr(logger, "log_table"):
        return WandbSink(logger)
    experiment = logger.experiment
    if hasattr(experiment, "add_image"):
        return TensorBoardSink(experiment)
    return MLflowSink(logger) if hasattr(experiment, "log_image") and hasattr(logger, "run_id") else None


def tell_without_pictures(trainer: pl.Trainer) -> None:
    """Says once of each logger that takes no pictures that it takes none."""
    if not trainer.is_global_zero:
        return
    for logger in trainer.loggers:
        if logger not in _TOLD and _sink(logger) is None:
            _TOLD.add(logger)
            rank_zero_info(
                f"{type(logger).__name__} takes no pictures: heat maps, curves and tables are left out of it. "
                "TensorBoardLogger, WandbLogger and MLFlowLogger take them."
            )


def _plain(tag: str) -> str:
    return re.sub(r"[^\w\-. /]", "_", tag, flags=re.ASCII)


def _markdown(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(str(each) for each in line)} |" for line in lines)
