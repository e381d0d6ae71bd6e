"""Batch augmentations: (inputs (B, 3, H, W), noise (B, numbers)) -> inputs.

They draw nothing themselves: the datamodule draws uniform numbers for the global batch by a counter and hands each
process its rows, so that a run does not depend on the number of processes and resumes exactly.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["Augment", "FlipCrop", "HorizontalFlip"]


class Augment(ABC):
    """Changes a training batch.

    Attributes:
        numbers: uniform numbers it needs for each instance.
    """

    numbers: int

    @abstractmethod
    def __call__(self, inputs: Tensor, noise: Tensor) -> Tensor:
        """Inputs (B, 3, H, W) and noise (B, numbers), uniform on [0, 1), on the same device -> (B, 3, H, W)."""


class HorizontalFlip(Augment):
    """Mirrors each image with probability 1/2."""

    numbers = 1

    def __call__(self, inputs: Tensor, noise: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, 3, H, W)."""
        return torch.where(noise[:, 0].lt(0.5).view(-1, 1, 1, 1), inputs.flip(-1), inputs)


class FlipCrop(HorizontalFlip):
    """Mirrors, then crops a random window from the reflected border, one window an image.

    Args:
        padding: border in pixels.
    """

    numbers = 3

    def __init__(self, padding: int = 4) -> None:
        if padding < 0:
            raise ValueError(f"padding must not be negative, got {padding} pixels.")
        self.padding = padding

    def __call__(self, inputs: Tensor, noise: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, 3, H, W)."""
        inputs = super().__call__(inputs, noise)
        height, width = inputs.shape[-2:]
        shifts = (noise[:, 1:] * (2 * self.padding + 1)).long()
        padded = F.pad(inputs, [self.padding] * 4, mode="reflect")
        rows = shifts[:, :1] + torch.arange(height, device=inputs.device)
        columns = shifts[:, 1:] + torch.arange(width, device=inputs.device)
        batch = torch.arange(len(inputs), device=inputs.device).view(-1, 1, 1)
        return padded.permute(0, 2, 3, 1)[batch, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
