"""N features and where they lie in the input."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from fex.images.removal import Mean
from fex.modality import Features

__all__ = ["ImageFeatures", "PatchGrid"]


class ImageFeatures(Features):
    """What all features that partition the pixels share: every instance has all N of them."""

    modality: ClassVar[str] = "image"
    removals: ClassVar[str] = "Mean, Black, Blur or Noise"

    @abstractmethod
    def expand(self, values: Tensor, size: tuple[int, int]) -> Tensor:
        """The value of each pixel's feature: (..., N) -> (..., H, W), any dtype."""

    def keep(self, masks: Tensor, inputs: Tensor) -> Tensor:
        """Masks (R, N) on the pixels of `inputs` (R, 3, H, W): (R, 1, H, W), in the inputs' type."""
        return self.expand(masks.to(inputs.dtype), (inputs.shape[-2], inputs.shape[-1])).unsqueeze(1)

    def on_inputs(self, values: Tensor, inputs: Tensor) -> Tensor:
        """Values on the pixels of `inputs` that the features cover: (B, N) -> (B, H, W)."""
        return self.expand(values, (inputs.shape[-2], inputs.shape[-1]))

    def usual_removal(self) -> Mean:
        """The black box's mean colour."""
        return Mean()


@dataclass(frozen=True)
class PatchGrid(ImageFeatures):
    """A grid of height x width rectangular patches over an image of any size; N = height * width, row by row.

    Where the image's side is no multiple of the grid's, patch i of n covers the pixels p with floor(p n / side) = i,
    so that patches differ by one pixel at most.

    Args:
        height: patches from top to bottom.
        width: patches from left to right.

    Example:
        >>> import torch
        >>> PatchGrid(2, 2).expand(torch.tensor([[1.0, 0.0, 0.0, 1.0]]), (2, 4))
        tensor([[[1., 1., 0., 0.],
                 [0., 0., 1., 1.]]])
    """

    height: int
    width: int

    def __post_init__(self) -> None:
        if self.height < 1 or self.width < 1:
            raise ValueError(f"PatchGrid needs at least one patch a side, got {self.height} x {self.width}.")

    @property
    def num_features(self) -> int:
        """N."""
        return self.height * self.width

    @property
    def grid(self) -> tuple[int, int]:
        """(height, width)."""
        return self.height, self.width

    def maps(self, values: Tensor, inputs: Tensor) -> Tensor:
        """Bilinear upsampling to the pixels of `inputs`: (B, N) -> (B, H, W)."""
        return self.smooth(values, (inputs.shape[-2], inputs.shape[-1]))

    def describe(self) -> str:
        """Such as "8x8 patches"."""
        return f"{self.height}x{self.width} patches"

    def _check(self, values: Tensor, size: tuple[int, int]) -> None:
        if values.shape[-1] != self.num_features:
            raise ValueError(
                f"Got {values.shape[-1]} features, expected {self.num_features} for a {self.height} x {self.width} "
                f"grid: give values of shape (..., {self.num_features})."
            )
        if self.height > size[0] or self.width > size[1]:
            raise ValueError(
                f"A {self.height} x {self.width} grid does not fit an image of {size[0]} x {size[1]} pixels: "
                "choose a coarser grid."
            )

    def expand(self, values: Tensor, size: tuple[int, int]) -> Tensor:
        """Nearest upsampling: (..., N) -> (..., H, W), any dtype."""
        self._check(values, size)
        grid = values.unflatten(-1, (self.height, self.width))
        if size[0] % self.height == 0 and size[1] % self.width == 0:
            return grid.repeat_interleave(size[0] // self.height, -2).repeat_interleave(size[1] // self.width, -1)
        rows = torch.arange(size[0], device=values.device) * self.height // size[0]
        columns = torch.arange(size[1], device=values.device) * self.width // size[1]
        return grid[..., rows, :][..., columns]

    def smooth(self, values: Tensor, size: tuple[int, int]) -> Tensor:
        """Bilinear upsampling, for pictures and the protocols that ask for it: float (B, N) -> (B, H, W)."""
        self._check(values, size)
        grid = values.unflatten(-1, (self.height, self.width)).unsqueeze(1)
        return F.interpolate(grid, size=size, mode="bilinear", align_corners=False).squeeze(1)

    def pool(self, pixels: Tensor) -> Tensor:
        """Mean of each patch: float (B, H, W) -> (B, N); inverse of `expand`."""
        size = (pixels.shape[-2], pixels.shape[-1])
        self._check(pixels.new_empty(self.num_features), size)
        if size[0] % self.height == 0 and size[1] % self.width == 0:
            return F.adaptive_avg_pool2d(pixels.unsqueeze(1), (self.height, self.width)).flatten(1)
        rows = torch.arange(size[0], device=pixels.device) * self.height // size[0]
        columns = torch.arange(size[1], device=pixels.device) * self.width // size[1]
        patch = (rows[:, None] * self.width + columns).flatten()
        total = pixels.new_zeros(pixels.shape[0], self.num_features)
        total.index_add_(1, patch, pixels.flatten(1))
        return total / torch.bincount(patch, minlength=self.num_features)
