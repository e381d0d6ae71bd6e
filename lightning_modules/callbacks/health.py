"""Says when training goes wrong in silence, and what to do about it."""

from dataclasses import dataclass

import lightning.pytorch as pl
import torch
from lightning.pytorch.utilities import rank_zero_warn

__all__ = ["HealthSigns"]


@dataclass(frozen=True)
class Sign:
    """A logged number, the range it should stay in, and advice."""

    key: str
    low: float
    high: float
    advice: str


SIGNS = (
    Sign("train/kept_share", 0.02, 0.98, "the masks collapse: the reward favours the empty (or the full) mask. Use "
         "BlankCorrectedRatio or RandomBudget, or another keep_rate."),
    Sign("train/clip_fraction", -1.0, 0.6, "most ratios are clipped: fewer inner_epochs, a lower learning rate, or "
         "surrogate: per_feature."),
    Sign("train/logit_spread", 1e-3, 20.0, "maps are flat or saturated: raise the keep_rate or the learning rate if "
         "flat, the entropy_weight if saturated."),
    Sign("train/masked_score", 0.02, 1.01, "the box gives the class almost nothing under the masks, so nothing is "
         "learnt: a higher keep_rate, a coarser grid, or removal Blur."),
    Sign("train/explained_variance", -0.5, 1.01, "the value net is worse than a constant: a higher value_weight or a "
         "lower learning rate."),
)  # fmt: skip


class HealthSigns(pl.Callback):
    """Watches running means of the failure signs; warns once a sign, with advice.

    Args:
        patience: batches over which a sign must be out of range on average.
    """

    def __init__(self, patience: int = 100) -> None:
        if patience < 1:
            raise ValueError(f"patience must be at least 1 batch, got {patience}.")
        self.patience = patience
        self.recent: dict[str, list[float]] = {}
        self.warned: set[str] = set()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        """Collects the signs and judges them every `patience` batches."""
        for sign in SIGNS:
            value = trainer.callback_metrics.get(sign.key)
            if value is None:
                continue
            recent = self.recent.setdefault(sign.key, [])
            recent.append(float(value))
            if len(recent) < self.patience:
                continue
            mean = float(torch.tensor(recent).mean())
            recent.clear()
            if not sign.low <= mean <= sign.high and sign.key not in self.warned:
                self.warned.add(sign.key)
                rank_zero_warn(
                    f"{sign.key} averaged {mean:.3g} over {self.patience} batches up to step {trainer.global_step}, "
                    f"expected [{sign.low:g}, {sign.high:g}]: {sign.advice}"
                )
