"""Heat maps in the loggers of a run."""

from typing import Any, NamedTuple

import lightning.pytorch as pl
import numpy as np
import torch

from fex.report.heatmap import grid_picture
from lightning_modules.sinks import sinks, tell_without_pictures

__all__ = ["HeatMaps"]


class _Shown(NamedTuple):
    """What is drawn of one image: its place among those kept, the image (3, H, W), its map (h, w) and its class."""

    place: int
    image: torch.Tensor
    grid: np.ndarray
    target: int


class HeatMaps(pl.Callback):
    """Logs, after each validation, the same validation images over their maps for the class that the box predicts.

    They are the first of each class, and, where those are too few, the first of what is left: data that is sorted by
    class would otherwise show one. All validations have one tag, `val/heat_maps`, by step.

    Above each stands the class, and the values (keep probabilities lambda) at the two ends of the map's colours. Reads
    what the module's validation step returns: attribution (B, N), clean (B, C).

    Args:
        count: number of images.
    """

    def __init__(self, count: int = 8) -> None:
        if count < 1:
            raise ValueError(f"count must be at least 1 image, got {count}.")
        self.count = count
        self._first: dict[int, _Shown] = {}  # by class
        self._others: list[_Shown] = []

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Says it where a logger takes no pictures."""
        tell_without_pictures(trainer)

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Starts over."""
        self._first, self._others = {}, []

    def on_validation_batch_end(
        self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Keeps the first of each class.

        Raises:
            ValueError: texts, which are not drawn.
        """
        if len(self._first) >= self.count or not sinks(trainer):
            return
        features = pl_module.features
        if features.grid is None:
            raise ValueError("HeatMaps draws images, this run explains texts: take the callback out of the config.")
        target = outputs["clean"].argmax(1).tolist()
        for row in batch["valid"].nonzero().flatten().tolist():
            new = target[row] not in self._first
            if len(self._first) >= self.count or not (new or len(self._others) < self.count):
                continue
            grid = outputs["attribution"][row].float().unflatten(0, (features.height, features.width)).cpu().numpy()
            shown = _Shown(len(self._first) + len(self._others), batch["inputs"][row].float().cpu(), grid, target[row])
            if new:
                self._first[target[row]] = shown
            else:
                self._others.append(shown)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Draws them, in the order of the data."""
        few = [*self._first.values(), *self._others][: self.count]
        self._first, self._others = {}, []
        if not few:
            return
        few.sort(key=lambda shown: shown.place)
        titles = [f"{pl_module.class_names[s.target]} {s.grid.min():.2g}…{s.grid.max():.2g}" for s in few]
        drawn = grid_picture(
            [s.image for s in few], [[s.grid for s in few]],
            row_titles=["lambda"], column_titles=titles, span=pl_module.explainer.span,
        )  # fmt: skip
        for sink in sinks(trainer):
            sink.picture("val/heat_maps", np.asarray(drawn).copy(), trainer.global_step)
