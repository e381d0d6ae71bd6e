"""Protocol `seg` as a torchmetrics module that only sums."""

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from fex.metrics.functional.segmentation import (
    average_precision,
    confusion,
    foreground,
    mean_iou,
    normalise_maps,
    pixel_accuracy,
    pointing_game,
    two_class_average_precision,
)

__all__ = ["SegmentationScores"]

PER_IMAGE = ("average_precision", "two_class_average_precision", "pointing_game")


class SegmentationScores(Metric):
    """Pixel accuracy and mean IoU over a data set; means over its images of AP, two-class AP and pointing game.

    Images without foreground count for the first two and for two-class AP alone.

    Args:
        tolerance: pixels by which the pointing game may miss.
        **kwargs: see `torchmetrics.Metric`.

    Example:
        >>> import torch
        >>> metric = SegmentationScores()
        >>> metric.update(torch.tensor([[[0.0, 1.0]]]), torch.tensor([[[False, True]]]))
        >>> float(metric.compute()["mean_iou"])
        1.0
    """

    full_state_update = False
    counts: Tensor
    totals: Tensor
    images: Tensor

    def __init__(self, tolerance: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.tolerance = tolerance
        self.add_state("counts", torch.zeros(4, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("totals", torch.zeros(len(PER_IMAGE), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("images", torch.zeros(len(PER_IMAGE), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, maps: Tensor, masks: Tensor, valid: Tensor | None = None, ignored: Tensor | None = None) -> None:
        """Adds a batch.

        Args:
            maps: (B, H, W), float.
            masks: (B, H, W), bool.
            valid: False where a row is padding (B,), bool.
            ignored: pixels that are not counted (B, H, W), bool; None counts all.
        """
        if valid is not None:
            maps, masks = maps[valid], masks[valid]
            ignored = None if ignored is None else ignored[valid]
        if not len(maps):
            return
        self.counts += confusion(foreground(maps), masks, ignored).sum(0)
        scores = torch.stack(
            [
                average_precision(normalise_maps(maps), masks, ignored),
                two_class_average_precision(maps, masks, ignored),
                pointing_game(maps, masks, self.tolerance, ignored),
            ]
        )
        self.totals += scores.double().nansum(1)
        self.images += (~scores.isnan()).sum(1)

    def compute(self) -> dict[str, Tensor]:
        """Every score; NaN before any image."""
        means = (self.totals / self.images).float()
        return {
            "pixel_accuracy": pixel_accuracy(self.counts),
            "mean_iou": mean_iou(self.counts),
            **dict(zip(PER_IMAGE, means, strict=True)),
        }
