"""Batch augmentations: (inputs (B, 3, H, W), noise (B, numbers)) -> inputs.

They draw nothing themselves: the datamodule draws uniform numbers for the global batch by a counter and hands each
process its rows, so that a run does not depend on the number of processes and resumes exactly.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["Augment", "FlipCrop", "HorizontalFlip", "SpectrogramAugment"]


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


class SpectrogramAugment(Augment):
    """Rolls spectrograms in time and silences one band of frequencies and one stretch of time (SpecAugment).

    Args:
        bands: most mel bands silenced.
        frames: most frames silenced.
    """

    numbers = 5

    def __init__(self, bands: int = 12, frames: int = 40) -> None:
        if bands < 0 or frames < 0:
            raise ValueError(f"bands and frames must not be negative, got {bands} and {frames}.")
        self.bands, self.frames = bands, frames

    def __call__(self, inputs: Tensor, noise: Tensor) -> Tensor:
        """(B, 3, mels, frames) -> (B, 3, mels, frames)."""
        places = torch.arange(inputs.shape[-1], device=inputs.device)
        moved = (places + (noise[:, :1] * inputs.shape[-1]).long()) % inputs.shape[-1]  # (B, frames)
        inputs = inputs.gather(3, moved[:, None, None].expand_as(inputs))
        kept_bands = self._outside(inputs.shape[-2], self.bands, noise[:, 1], noise[:, 2])
        kept_frames = self._outside(inputs.shape[-1], self.frames, noise[:, 3], noise[:, 4])
        return inputs * (kept_bands[:, :, None] & kept_frames[:, None]).unsqueeze(1)

    @staticmethod
    def _outside(side: int, most: int, width: Tensor, start: Tensor) -> Tensor:
        """Bool (B, side), False on a stretch of at most `most` places."""
        places = torch.arange(side, device=width.device)
        length = (width * (min(most, side) + 1)).long()[:, None]
        first = (start[:, None] * (side - length + 1)).long()
        return (places < first) | (places >= first + length)
