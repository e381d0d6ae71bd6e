"""What a training step draws, for the global batch: a function of seed, step and row alone."""

from typing import TYPE_CHECKING

import lightning.pytorch as pl
import torch
from torch import Tensor

from fex.policy import draw_labels
from lightning_modules.processes import rank_of, step_of, world_size_of

if TYPE_CHECKING:
    from lightning_modules.base import AmortizedModule

__all__ = ["explained_classes", "own_rows", "step_generator"]


def step_generator(module: pl.LightningModule, seed: int) -> torch.Generator:
    """The generator of the batch under way, the same in every process; a module without a trainer is at its first."""
    return torch.Generator().manual_seed(seed * 1_000_003 + step_of(module))


def own_rows(module: pl.LightningModule, rows: Tensor) -> Tensor:
    """This process's share of what was drawn for the rows of all of them, one process after the other."""
    count = len(rows) // world_size_of(module)
    return rows[rank_of(module) * count :][:count].to(module.device)


def explained_classes(module: "AmortizedModule", clean: Tensor) -> Tensor:
    """Classes (B,) that a step explains: the strongest of `clean` (B, C); the labels of a multi-label box take turns.

    A user asks for any label that is there: learnt from the strongest alone, the maps of the others would be noise.
    """
    if not module.black_box.multi_label:
        return clean.argmax(1)
    generator = step_generator(module, ~module.seed)  # not the numbers of the masks
    return draw_labels(clean, own_rows(module, torch.rand(len(clean) * world_size_of(module), generator=generator)))
