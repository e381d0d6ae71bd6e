"""Batch augmentations: (inputs (B, 3, H, W), generator) -> inputs."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["Augment", "FlipCrop", "HorizontalFlip"]


class Augment(ABC):
    """Changes a training batch."""

    @abstractmethod
    def __call__(self, inputs: Tensor, generator: torch.Generator) -> Tensor:
        """(B, 3, H, W) -> (B, 3, H, W), drawing from `generator` (CPU) alone."""


class HorizontalFlip(Augment):
    """Mirrors each image with probability 1/2."""

    def __call__(self, inputs: Tensor, generator: torch.Generator) -> Tensor:
        """(B, 3, H, W) -> (B, 3, H, W)."""
        flip = torch.rand(len(inputs), generator=generator).lt(0.5).to(inputs.device)
        return torch.where(flip.view(-1, 1, 1, 1), inputs.flip(-1), inputs)


class FlipCrop(HorizontalFlip):
    """Mirrors, then crops a random window from the reflected border, one window an image.

    Args:
        padding: border in pixels.
    """

    def __init__(self, padding: int = 4) -> None:
        self.padding = padding

    def __call__(self, inputs: Tensor, generator: torch.Generator) -> Tensor:
        """(B, 3, H, W) -> (B, 3, H, W)."""
        inputs = super().__call__(inputs, generator)
        height, width = inputs.shape[-2:]
        shifts = torch.randint(0, 2 * self.padding + 1, (2, len(inputs)), generator=generator).to(inputs.device)
        padded = F.pad(inputs, [self.padding] * 4, mode="reflect")
        rows = shifts[0, :, None] + torch.arange(height, device=inputs.device)
        columns = shifts[1, :, None] + torch.arange(width, device=inputs.device)
        batch = torch.arange(len(inputs), device=inputs.device).view(-1, 1, 1)
        return padded.permute(0, 2, 3, 1)[batch, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
