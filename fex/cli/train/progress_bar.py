"""Progress of Lightning's loops on a terminal: one line, whatever the width."""

import shutil
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import RichProgressBar
from rich.progress import BarColumn

__all__ = ["OneLineBar"]

_OTHERS = 60  # columns of a line beside the metrics
_BAR = 10


class OneLineBar(RichProgressBar):
    """Lightning's bar without its wide parts; metrics that do not fit beside it are left to the logger."""

    def configure_columns(self, trainer: pl.Trainer) -> list[Any]:
        """Description, a short bar, batches, time."""
        columns = super().configure_columns(trainer)[:4]
        return [BarColumn(bar_width=_BAR) if isinstance(column, BarColumn) else column for column in columns]

    def get_metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, Any]:
        """Those that fit, in their order."""
        room = shutil.get_terminal_size().columns - _OTHERS
        found = super().get_metrics(trainer, pl_module)
        found.pop("v_num", None)
        kept: dict[str, Any] = {}
        for name, value in found.items():
            room -= len(f"{name}: {value:.3f} " if isinstance(value, float) else f"{name}: {value} ")
            if room >= 0:
                kept[name] = value
        return kept
