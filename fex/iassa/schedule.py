"""When and where IASSA looks next: window and stride by iteration, the highest activated region, convergence."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import torch
from torch import Tensor

from fex.metrics.functional.segmentation import normalise_maps

__all__ = [
    "Sweep",
    "WindowSchedule",
    "centres_within",
    "highest_activated",
    "relative_change",
    "same_everywhere",
    "window_weights",
]

ROUNDING = 1e-6  # of float32 probabilities, relative: what a box may answer otherwise in a chunk of another size


@dataclass(frozen=True)
class WindowSchedule:
    """Side and step of the windows, which shrink as iterations go on. Defaults are for inputs of about 224 pixels.

    The paper's, `WindowSchedule.paper()`, has windows of 45 pixels every 8; `WindowSchedule.of(size)` is for others.

    Args:
        window: side in the first iteration, in pixels.
        stride: step in the first iteration, in pixels.
        window_step: what the side loses an iteration.
        stride_step: what the step loses an iteration.
        min_window: smallest side.
        min_stride: smallest step.

    Example:
        >>> WindowSchedule().at(1), WindowSchedule.paper().at(1)
        ((94, 15.0), (44, 7.8))
    """

    window: float = 96.0
    stride: float = 16.0
    window_step: float = 1.5
    stride_step: float = 1.0
    min_window: float = 8.0
    min_stride: float = 1.0

    @classmethod
    def paper(cls) -> "WindowSchedule":
        """Section 4 of the paper, for pictures of 224 pixels."""
        return cls(window=45.0, stride=8.0, window_step=1.5, stride_step=0.2)

    @classmethod
    def of(cls, size: tuple[int, int]) -> "WindowSchedule":
        """The defaults in proportion to inputs of (H, W), by the side of a square of as many pixels.

        Steps end at 4 of 224 pixels: at 1, an iteration would ask tens of thousands of queries.

        Example:
            >>> WindowSchedule.of((32, 32)).at(0), WindowSchedule.of((224, 224)).at(25)
            ((14, 2.285714), (58, 4.0))
        """
        scale, usual = sqrt(size[0] * size[1]) / 224, cls()
        return cls(
            window=max(1.0, scale * usual.window),
            stride=max(1.0, scale * usual.stride),
            window_step=scale * usual.window_step,
            stride_step=scale * usual.stride_step,
            min_window=max(1.0, scale * usual.min_window),
            min_stride=max(1.0, 4 * scale),
        )

    def __post_init__(self) -> None:
        if not (self.window >= self.min_window >= 1 and self.stride >= self.min_stride >= 1):
            raise ValueError(f"{self}: expected window >= min_window >= 1 and stride >= min_stride >= 1, in pixels.")
        if self.window_step < 0 or self.stride_step < 0:
            raise ValueError(f"{self}: window_step and stride_step must not be negative; windows shrink.")
        if self.stride > self.window:
            raise ValueError(f"{self}: a stride beyond the window leaves pixels that no window covers.")

    def at(self, iteration: int) -> tuple[int, float]:
        """Side in whole pixels and step of iteration 0, 1, ..."""
        side = max(self.min_window, self.window - iteration * self.window_step)
        step = max(self.min_stride, self.stride - iteration * self.stride_step)
        return round(side), min(round(step, 6), side)


def highest_activated(saliency: Tensor, threshold: float) -> Tensor:
    """Where a map (H, W), scaled to [0, 1], exceeds the threshold (eq. 8): bool (H, W); nowhere in a constant map."""
    return normalise_maps(saliency[None])[0] > threshold


def centres_within(centres: Tensor, region: Tensor) -> Tensor:
    """The window centres (K, 2) that lie in `region` (H, W), bool (eq. 7): (k, 2)."""
    rows, columns = centres.round().long().unbind(1)
    return centres[region.cpu()[rows, columns]]


def relative_change(new: Tensor, old: Tensor) -> float:
    """Sum of absolute differences of two maps, each scaled to [0, 1], over the sum of the old one.

    1 where the old map was constant and the new one is not, 0 where both are.
    """
    a, b = normalise_maps(torch.stack([new, old])).double()
    difference, total = float((a - b).abs().sum()), float(b.sum())
    if total == 0:
        return 0.0 if difference == 0 else 1.0
    return difference / total


def same_everywhere(scores: Tensor) -> Tensor:
    """Whether all scores (kinds, K) of a kind are one number, but for how a box rounds it: bool (kinds,)."""
    low, high = scores.aminmax(dim=1)
    return high - low <= ROUNDING * high.abs()


@dataclass(frozen=True, eq=False)
class Sweep:
    """The windows of one iteration.

    Attributes:
        centres: (K, 2), float64.
        region: where centres were taken from, bool (H, W); None for the whole image.
        density: centres a pixel there.
    """

    centres: Tensor
    region: Tensor | None
    density: float

    def density_at(self, centres: Tensor) -> Tensor:
        """Centres a pixel at the given places (k, 2): (k,), float64."""
        density = torch.full((len(centres),), self.density, dtype=torch.float64)
        if self.region is None:
            return density
        rows, columns = centres.round().long().unbind(1)
        return density * self.region.cpu()[rows, columns]


def window_weights(sweeps: Sequence[Sweep]) -> Tensor:
    """One over how densely windows were laid around each of them, (sum of K,), float64, with mean 1.

    The mean of eq. 5 is over windows anywhere in the image. Later iterations lay more of them where the map is high:
    counted alike, those that happen to cover a pixel beside the object would be mostly the high-scoring ones centred
    on it, and the map would spread beyond the object with every iteration (measured: docs/instances.md).
    """
    centres = torch.cat([sweep.centres for sweep in sweeps])
    weights = 1 / torch.stack([sweep.density_at(centres) for sweep in sweeps]).sum(0)
    return weights / weights.mean()
