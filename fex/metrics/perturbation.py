"""Area under perturbation curves, as a torchmetrics module that only sums."""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor
from torchmetrics import Metric

from fex.metrics.functional.perturbation import mean_auc, trapezoid_auc

__all__ = ["PerturbationAUC"]


class PerturbationAUC(Metric):
    """Area under the mean of `fex.metrics.functional.perturbation_curve` over instances.

    Args:
        fractions: S shares removed.
        area: "mean" of the points, or "trapezoid" over the shares.
        **kwargs: see `torchmetrics.Metric`.

    Raises:
        ValueError: an unknown area, or no shares.

    Example:
        >>> import torch
        >>> metric = PerturbationAUC([0.0, 0.5])
        >>> metric.update(torch.tensor([[1.0, 0.0], [1.0, 1.0]]))
        >>> metric.compute()
        tensor(0.7500)
    """

    full_state_update = False
    curve_sum: Tensor
    count: Tensor

    def __init__(self, fractions: Sequence[float], area: Literal["mean", "trapezoid"] = "mean", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if area not in ("mean", "trapezoid") or not fractions:
            raise ValueError(
                f"Got area {area!r} and {len(fractions)} fractions, expected 'mean' or 'trapezoid' and 1+."
            )
        self.fractions, self.area = tuple(fractions), area
        self.add_state("curve_sum", torch.zeros(len(fractions), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, curves: Tensor, valid: Tensor | None = None) -> None:
        """Adds curves (B, S); rows where `valid` (B,) is False are padding.

        Raises:
            ValueError: not one point a share.
        """
        if curves.ndim != 2 or curves.shape[1] != len(self.fractions):
            raise ValueError(f"Got curves of shape {tuple(curves.shape)}, expected (B, {len(self.fractions)}).")
        curves = curves if valid is None else curves[valid]
        self.curve_sum += curves.detach().to(self.curve_sum.dtype).sum(0)
        self.count += len(curves)

    def curve(self) -> Tensor:
        """Mean curve (S,), float32."""
        return (self.curve_sum / self.count).float()

    def compute(self) -> Tensor:
        """Area under the mean curve; NaN before any instance."""
        return mean_auc(self.curve()) if self.area == "mean" else trapezoid_auc(self.curve(), self.fractions)
