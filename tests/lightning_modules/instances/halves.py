"""Six pictures of one bright half, a box that tells which, and small runs of DAX and IASSA over them."""

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from torch.utils.data import DataLoader

from datamodules.rows import collate
from fex.black_box import CallableBlackBox
from fex.cli.train.trainer import FexTrainer
from fex.dax import DAX, FitSettings, Grid
from fex.iassa import IASSA, WindowSchedule
from fex.images import Black, Preprocess

SIZE = 16


def score(x):
    """Class by which half is brighter; class 2 never."""
    left, right = x[..., : SIZE // 2].mean((1, 2, 3)), x[..., SIZE // 2 :].mean((1, 2, 3))
    share = (0.5 + left - right).clamp(0, 1)
    return torch.stack([share, 1 - share, 0 * share], 1)


def box():
    return CallableBlackBox(score, num_classes=3, preprocess=Preprocess(SIZE, SIZE), name="halves")


class Data(pl.LightningDataModule):
    """Six pictures of one bright half, one row unreadable; labels are wrong for two of them."""

    def __init__(self, masks="true", **extra):
        super().__init__()
        rows = []
        for index in range(6):
            generator = torch.Generator().manual_seed(index)
            image, mask = (
                torch.rand(3, SIZE, SIZE, generator=generator) * 0.2,
                torch.zeros(SIZE, SIZE, dtype=torch.bool),
            )
            half = slice(0, 8) if index % 2 == 0 else slice(8, 16)
            image[..., half] += 0.7
            mask[..., half] = True
            row = {"inputs": image, "labels": index % 2 if index < 4 else 2, "valid": index != 1, "index": index}
            rows.append({**row, "names": f"folder/{index}.jpg", "masks": mask, **extra})
            if masks is None:
                del rows[-1]["masks"]
            elif masks == "poisoned":
                rows[-1]["masks"] = ~mask
        self.rows = rows

    def predict_dataloader(self):
        return DataLoader(self.rows, batch_size=2, collate_fn=collate)


def dax(**options):
    fit = FitSettings(mask_kernel=3, mask_width=4, student_width=2, hidden=4, max_epochs=2)
    return DAX(box(), Black(), Grid(2, 4), num_samples=40, resolution=8, fit=fit, **options)


def iassa():
    schedule = WindowSchedule(window=6, stride=4, min_window=2)
    return IASSA(box(), None, Black(), schedule=schedule, iterations=1)


def run(module, data=None, folder=None):
    logger = TensorBoardLogger(folder, name="", version="") if folder else False
    trainer = FexTrainer(
        accelerator="cpu", devices=1, logger=logger, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(module, datamodule=data or Data())
    return trainer


def instances(folder):
    return sorted(path.name for path in (folder / "instances" / "folder").glob("*.npz"))


def attribution(folder, name):
    with np.load(folder / "instances" / "folder" / name) as data:
        return data["attribution"]
