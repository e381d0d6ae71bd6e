"""What a training step draws, for the global batch: a function of seed, step and row alone."""

from typing import TYPE_CHECKING

import lightning.pytorch as pl
import torch
from torch import Tensor

from fex.policy import draw_labels
from fex.seeding import RowDraws
from lightning_modules.processes import rank_of, step_of, world_size_of

if TYPE_CHECKING:
    from lightning_modules.base import AmortizedModule

__all__ = ["draw_masks", "explained_classes", "row_draws", "step_generator"]


def step_generator(module: pl.LightningModule, seed: int) -> torch.Generator:
    """The generator of the batch under way, the same in every process; a module without a trainer is at its first."""
    return torch.Generator().manual_seed(seed * 1_000_003 + step_of(module))


def row_draws(module: pl.LightningModule, count: int, stream: int = 0) -> RowDraws:
    """What numbers this process's `count` rows of the batch under way; 0 is the stream of the masks."""
    return RowDraws(module.seed, step_of(module), rank_of(module) * count, stream)


def draw_masks(module: "AmortizedModule", batch_size: int, count: int | None = None) -> tuple[Tensor, Tensor]:
    """This rank's rows of the global batch's noise: masks (B, K, `count` or N) and budgets (B, K)."""
    shape, grid = (batch_size, module.num_masks, module.features.num_features), module.features.grid
    if module.noise.by_rows:
        masks, budgets = module.noise(shape, row_draws(module, batch_size), grid)
        return masks[..., :count].to(module.device), budgets.to(module.device)
    whole = (batch_size * world_size_of(module), *shape[1:])
    drawn = module.noise(whole, step_generator(module, module.seed), grid)
    own = slice(rank_of(module) * batch_size, (rank_of(module) + 1) * batch_size)
    masks, budgets = (part[own].to(module.device) for part in drawn)
    return masks[..., :count], budgets


def explained_classes(module: "AmortizedModule", clean: Tensor) -> Tensor:
    """Classes (B,) that a step explains: the strongest of `clean` (B, C); the labels of a multi-label box take turns.

    A user asks for any label that is there: learnt from the strongest alone, the maps of the others would be noise.
    """
    if not module.black_box.multi_label:
        return clean.argmax(1)
    draws = row_draws(module, len(clean), stream=2)  # 1: augmentation's
    return draw_labels(clean, draws.rand(len(clean)).to(module.device))
