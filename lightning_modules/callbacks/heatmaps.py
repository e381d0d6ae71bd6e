"""Heat maps and perturbation curves in TensorBoard."""

from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.loggers import TensorBoardLogger

from fex.report.heatmap import normalise, overlay, to_picture, upsample

__all__ = ["HeatMaps"]

TILE = 128  # pixels; smaller inputs are enlarged so that they can be looked at


class HeatMaps(pl.Callback):
    """Logs, after each validation, the same first validation images beside their maps for the predicted class.

    Reads what the module's validation step returns: attribution (B, N).

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
        columns = []
        for image, grid in list(zip(batch["inputs"].float().cpu(), grids, strict=True))[: self.count]:
            picture = to_picture(image)
            scale = max(1, -(-TILE // min(picture.size)))
            picture = picture.resize((picture.width * scale, picture.height * scale))
            shown = overlay(picture, upsample(normalise(grid), (picture.height, picture.width)))
            columns.append(np.concatenate([np.asarray(picture), np.asarray(shown)], axis=0))
        grid_picture = torch.from_numpy(np.concatenate(columns, axis=1)).permute(2, 0, 1)
        for logger in loggers:
            logger.experiment.add_image("val/heat_maps", grid_picture, trainer.global_step)
