"""Heat maps and perturbation curves in TensorBoard."""

from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.loggers import TensorBoardLogger

from fex.report.heatmap import grid_picture

__all__ = ["HeatMaps"]


class HeatMaps(pl.Callback):
    """Logs, after each validation, the same first validation images over their maps for the predicted class.

    Above each stands the class, and the values (keep probabilities lambda) at the two ends of the map's colours. Reads
    what the module's validation step returns: attribution (B, N), clean (B, C).

    Args:
        count: number of images.
    """

    def __init__(self, count: int = 8) -> None:
        if count < 1:
            raise ValueError(f"count must be at least 1 image, got {count}.")
        self.count = count

    def on_validation_batch_end(
        self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Draws the first batch."""
        loggers = [logger for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]
        if batch_idx or not loggers or not trainer.is_global_zero:
            return
        features = pl_module.features
        if features.grid is None:
            raise ValueError("HeatMaps draws images, this run explains texts: take the callback out of the config.")
        grids = outputs["attribution"].float().unflatten(1, (features.height, features.width)).cpu().numpy()
        grids, target = grids[: self.count], outputs["clean"].argmax(1).tolist()
        names = [pl_module.class_names[index] for index in target[: self.count]]
        titles = [f"{name} {grid.min():.2g}…{grid.max():.2g}" for name, grid in zip(names, grids, strict=True)]
        images = list(batch["inputs"].float().cpu()[: self.count])
        drawn = grid_picture(images, [list(grids)], row_titles=["lambda"], column_titles=titles)
        pixels = torch.from_numpy(np.asarray(drawn).copy()).permute(2, 0, 1)
        for logger in loggers:
            logger.experiment.add_image("val/heat_maps", pixels, trainer.global_step)
