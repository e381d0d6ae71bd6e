"""Segments of one image as features: the same interface as a patch grid, for one picture's own partition."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from fex.images.features import ImageFeatures

__all__ = ["Segments"]


@dataclass(frozen=True, eq=False)
class Segments(ImageFeatures):
    """A partition of one image's pixels into N segments.

    Args:
        labels: segment of each pixel, (H, W), int64, every number 0 ... N - 1 occurring.

    Raises:
        ValueError: labels of another shape or type, or with gaps.

    Example:
        >>> import torch
        >>> Segments(torch.tensor([[0, 0, 1]])).expand(torch.tensor([0.2, 0.7]), (1, 3))
        tensor([[0.2000, 0.2000, 0.7000]])
    """

    labels: Tensor
    num_features: int = field(init=False)

    def __post_init__(self) -> None:
        if self.labels.ndim != 2 or self.labels.dtype is not torch.int64 or self.labels.numel() == 0:
            raise ValueError(
                f"Got labels of shape {tuple(self.labels.shape)} and type {self.labels.dtype}, expected (H, W), int64."
            )
        found = self.labels.unique()
        if int(found[0]) != 0 or int(found[-1]) != len(found) - 1:
            raise ValueError(
                f"Got {len(found)} labels in {int(found[0])} ... {int(found[-1])}, expected 0 ... N - 1 without gaps: "
                "renumber them by `unique(return_inverse=True)`."
            )
        object.__setattr__(self, "num_features", len(found))

    def _check(self, size: tuple[int, int]) -> None:
        if tuple(self.labels.shape) != tuple(size):
            raise ValueError(f"Got an image of {tuple(size)} pixels, the segments are of {tuple(self.labels.shape)}.")

    def expand(self, values: Tensor, size: tuple[int, int]) -> Tensor:
        """The value of each pixel's segment: (..., N) -> (..., H, W), any dtype."""
        self._check(size)
        if values.shape[-1] != self.num_features:
            raise ValueError(f"Got {values.shape[-1]} values for {self.num_features} segments.")
        picked = values.index_select(-1, self.labels.to(values.device).flatten())  # twice as fast as by an index
        return picked.unflatten(-1, size)

    def pool(self, pixels: Tensor) -> Tensor:
        """Mean of each segment: float (B, H, W) -> (B, N)."""
        self._check((pixels.shape[-2], pixels.shape[-1]))
        flat = self.labels.to(pixels.device).flatten()
        total = pixels.new_zeros(pixels.shape[0], self.num_features)
        total.index_add_(1, flat, pixels.flatten(1))
        return total / torch.bincount(flat, minlength=self.num_features)

    def describe(self) -> str:
        """Such as "12 segments"."""
        return f"{self.num_features} segments"
