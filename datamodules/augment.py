"""Batch augmentations: (inputs (B, 3, H, W), noise (B, numbers)) -> inputs.

They draw nothing themselves: the datamodule draws uniform numbers for the global batch by a counter and hands each
process its rows, so that a run does not depend on the number of processes and resumes exactly.
"""

import math
from abc import ABC, abstractmethod

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["Augment", "FlipCrop", "HorizontalFlip", "ResizedCrop", "SpectrogramAugment"]


class Augment(ABC):
    """Changes a training batch.

    Attributes:
        numbers: uniform numbers it needs for each instance.
    """

    numbers: int

    @abstractmethod
    def __call__(self, inputs: Tensor, noise: Tensor) -> Tensor:
        """Inputs (B, 3, H, W) and noise (B, numbers), uniform on [0, 1), on the same device -> (B, 3, H, W)."""

    def view(self, inputs: Tensor, rows: Tensor, views: Tensor, seed: int) -> Tensor:
        """Fixed views (B,) of rows (B,) of a data set, a function of these and `seed` alone; 0 is the input itself."""
        keys = zip(rows.tolist(), views.tolist(), strict=True)
        drawn = [np.random.default_rng([seed % 2**32, *key]).random(self.numbers, np.float32) for key in keys]
        changed = self(inputs, torch.from_numpy(np.stack(drawn)).to(inputs.device))
        return torch.where(views.view(-1, 1, 1, 1) == 0, inputs, changed)


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


class ResizedCrop(Augment):
    """Shows a random window of each picture at full size, mirrored with probability 1/2.

    The window's share of the area is uniform on `scale`, its aspect ratio, relative to the picture's, log-uniform on
    [3/4, 4/3] as far as such a window fits; its place is uniform. Bilinear: a window is only ever enlarged.

    Args:
        scale: smallest and largest share of the area.
    """

    numbers = 5

    def __init__(self, scale: tuple[float, float] = (0.4, 1.0)) -> None:
        if not 0 < scale[0] <= scale[1] <= 1:
            raise ValueError(f"scale needs two shares of the area, 0 < smallest <= largest <= 1; got {scale}.")
        self.scale = scale

    def __call__(self, inputs: Tensor, noise: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, 3, H, W)."""
        area = self.scale[0] + (self.scale[1] - self.scale[0]) * noise[:, 0]
        ratio = ((2 * noise[:, 1] - 1) * (-area.log()).clamp_max(math.log(4 / 3))).exp()
        sides = torch.stack([(area * ratio).sqrt(), (area / ratio).sqrt()], 1)  # width, height, both at most 1
        centre = (2 * noise[:, 2:4] - 1) * (1 - sides)
        mirrored = torch.where(noise[:, 4] < 0.5, -1.0, 1.0)
        window = torch.zeros(len(inputs), 2, 3, device=inputs.device)  # output places in [-1, 1] -> input places
        window[:, 0, 0], window[:, 1, 1], window[:, :, 2] = sides[:, 0] * mirrored, sides[:, 1], centre
        places = F.affine_grid(window, list(inputs.shape), align_corners=False)
        return F.grid_sample(inputs, places, padding_mode="border", align_corners=False).clamp(0, 1)


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
