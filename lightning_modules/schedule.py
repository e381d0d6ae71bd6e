"""Learning-rate schedule over batches."""

import math

import lightning.pytorch as pl
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

__all__ = ["total_batches", "warmup_cosine"]


def warmup_cosine(optimizer: Optimizer, total: int | None, warmup: float, *, cosine: bool) -> LambdaLR:
    """Linear rise over the first `warmup` share of `total` batches, then constant or a cosine to zero.

    Raises:
        ValueError: a rise or a cosine, and no `total`.
    """
    if total is None:
        if cosine or warmup > 0:
            raise ValueError("A warm-up or cosine schedule needs an end: set trainer.max_epochs or max_steps.")
        total = 1
    rise = max(1, round(total * warmup))

    def factor(step: int) -> float:
        if warmup > 0 and step < rise:
            return (step + 1) / rise
        if not cosine:
            return 1.0
        done = min(1.0, (step - rise * (warmup > 0)) / max(1, total - rise * (warmup > 0)))
        return 0.5 * (1 + math.cos(math.pi * done))

    return LambdaLR(optimizer, factor)


def total_batches(trainer: pl.Trainer, updates: int) -> int | None:
    """Batches of the whole run, at least 1, or None where it has no end.

    Args:
        trainer: of the run.
        updates: optimiser steps a batch; `max_steps` counts those.
    """
    trainer.fit_loop.setup_data()
    total = float("inf")
    if trainer.max_epochs is not None and trainer.max_epochs >= 0:
        total = trainer.num_training_batches * trainer.max_epochs
    if trainer.max_steps >= 0:
        total = min(total, trainer.max_steps / updates)
    return None if total == float("inf") else max(1, int(total))
