"""Random masks, seeded. 1 = kept, 0 = removed.

All draws are made on the CPU, so that a seed means the same masks on every device.
"""

from math import ceil

import torch
from torch import Tensor
from torch.nn import functional as F

from fex.seeding import pixel_seeds

__all__ = ["hard_masks", "smooth_cells", "smooth_masks"]


def _check(count: int, keep_rate: float) -> None:
    if count < 1:
        raise ValueError(f"Got {count} masks, expected at least 1.")
    if not 0 < keep_rate < 1:
        raise ValueError(f"Got keep_rate={keep_rate}, expected a probability strictly between 0 and 1.")


def hard_masks(count: int, num_features: int, generator: torch.Generator, *, keep_rate: float = 0.5) -> Tensor:
    """Independent coin flips: each feature kept with probability `keep_rate`.

    Args:
        count: K masks.
        num_features: N.
        generator: CPU generator.
        keep_rate: probability of keeping a feature.

    Returns:
        Float32 (K, N) of zeros and ones.

    Raises:
        ValueError: no masks, or a keep-rate outside (0, 1).
    """
    _check(count, keep_rate)
    return (torch.rand(count, num_features, generator=generator) < keep_rate).float()


def smooth_cells(
    count: int, generator: torch.Generator, *, cells: int = 8, keep_rate: float = 0.5
) -> tuple[Tensor, Tensor]:
    """The random part of the RISE authors' masks; `smooth_masks` makes pixels of it, as few masks at a time as fit.

    Args:
        count: K masks.
        generator: CPU generator.
        cells: cells a side of the coarse grid.
        keep_rate: probability of keeping a cell.

    Returns:
        Coarse masks (K, cells, cells) of zeros and ones, and shifts (K, 2) in [0, 1), in cells, down and right.

    Raises:
        ValueError: no masks, no cells, or a keep-rate outside (0, 1).
    """
    _check(count, keep_rate)
    if cells < 1:
        raise ValueError(f"Got cells={cells}, expected at least 1 cell a side.")
    coarse = (torch.rand(count, cells, cells, generator=generator) < keep_rate).float()
    return coarse, torch.rand(count, 2, generator=generator)


def smooth_masks(coarse: Tensor, shifts: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear upsampling of coarse masks to one cell more than the image, cropped at a random shift.

    Source: Petsiuk et al. 2018, section 3.2.

    Args:
        coarse: (K, h, w), 1 = kept.
        shifts: (K, 2), in [0, 1): share of a cell by which each mask is moved.
        size: (H, W) in pixels.

    Returns:
        Float32 (K, H, W) in [0, 1].
    """
    cell = [ceil(side / count) for side, count in zip(size, coarse.shape[1:], strict=True)]
    large = [(count + 1) * side for count, side in zip(coarse.shape[1:], cell, strict=True)]
    upsampled = F.interpolate(coarse.unsqueeze(1), size=large, mode="bilinear", align_corners=False).squeeze(1)
    starts = (shifts * torch.tensor(cell, device=shifts.device)).long()  # whole pixels, 0 ... cell - 1
    rows = starts[:, :1] + torch.arange(size[0], device=coarse.device)  # (K, H)
    columns = starts[:, 1:] + torch.arange(size[1], device=coarse.device)  # (K, W)
    which = torch.arange(len(coarse), device=coarse.device)[:, None, None]
    return upsampled[which, rows[:, :, None], columns[:, None, :]].clamp_(0, 1)  # interpolation rounds past 1


def incorrect_classes(inputs: Tensor, clean: Tensor, seed: int) -> Tensor:
    """Of each instance a class that is not the predicted one, with equal chances, from its pixels and `seed` alone.

    Args:
        inputs: (B, ...), float.
        clean: the black box's probabilities (B, C) of them.
        seed: any integer.

    Returns:
        Classes (B,), int64.

    Raises:
        ValueError: there is no second class.
    """
    others = clean.shape[1] - 1
    if others < 1:
        raise ValueError("An incorrect class needs a black box of at least 2 classes, this one has 1.")
    draws = torch.tensor([each % others for each in pixel_seeds(inputs, seed)], device=clean.device)
    return draws + (draws >= clean.argmax(1)).long()
