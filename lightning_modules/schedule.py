"""Learning-rate schedule over batches."""

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

__all__ = ["warmup_cosine"]


def warmup_cosine(optimizer: Optimizer, total: int, warmup: float, *, cosine: bool) -> LambdaLR:
    """Linear rise over the first `warmup` share of `total` batches, then constant or a cosine to zero."""
    rise = max(1, round(total * warmup))

    def factor(step: int) -> float:
        if warmup > 0 and step < rise:
            return (step + 1) / rise
        if not cosine:
            return 1.0
        done = min(1.0, (step - rise * (warmup > 0)) / max(1, total - rise * (warmup > 0)))
        return 0.5 * (1 + math.cos(math.pi * done))

    return LambdaLR(optimizer, factor)
