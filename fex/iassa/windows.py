"""Sliding windows as boxes, and the saliency sum over them without ever holding their masks together."""

from typing import Literal

import torch
from torch import Tensor

__all__ = ["Window", "Windows", "saliency_sum", "window_boxes", "window_centres", "window_masks"]

Window = Literal["keep", "remove"]
Windows = Literal["keep", "remove", "both"]


def window_centres(size: tuple[int, int], stride: float) -> Tensor:
    """Centres of the windows, a grid of step `stride` laid symmetrically over the image.

    Windows at the border reach beyond it and are cut there, so that border pixels are seen as often as others.

    Args:
        size: (H, W) in pixels.
        stride: step in pixels, at least 1; need not be whole.

    Returns:
        (K, 2), float64: row and column of each centre, row by row.

    Raises:
        ValueError: a stride below 1.
    """
    if stride < 1:
        raise ValueError(f"Got stride={stride}, expected at least 1 pixel.")
    axes = []
    for side in size:
        count = int((side - 1) / stride) + 1
        axes.append((side - 1 - (count - 1) * stride) / 2 + stride * torch.arange(count, dtype=torch.float64))
    return torch.cartesian_prod(*axes)


def window_boxes(centres: Tensor, side: int, size: tuple[int, int]) -> Tensor:
    """Windows of side x side pixels around `centres` (K, 2), cut at the image: (K, 4), int64, top, left, bottom, right.

    The last two are exclusive.

    Raises:
        ValueError: a side below 1.
    """
    if side < 1:
        raise ValueError(f"Got a window of {side} pixels a side, expected at least 1.")
    # Halves all go one way: rounded to even ones, neighbouring windows of an even side would be one.
    first = (centres - (side - 1) / 2 + 0.5).floor().long()
    limits = torch.tensor(size)
    return torch.cat([first.clamp(min=0), torch.minimum(first + side, limits)], dim=1)


def window_masks(boxes: Tensor, size: tuple[int, int], window: Window = "keep") -> Tensor:
    """Masks of windows, True = kept: boxes (K, 4) -> bool (K, H, W)."""
    top, left, bottom, right = boxes[:, :, None].unbind(1)  # (K, 1) each
    rows, columns = torch.arange(size[0], device=boxes.device), torch.arange(size[1], device=boxes.device)
    inside = ((rows >= top) & (rows < bottom))[:, :, None] & ((columns >= left) & (columns < right))[:, None, :]
    return inside if window == "keep" else ~inside


def _box_sum(boxes: Tensor, values: Tensor, size: tuple[int, int]) -> Tensor:
    """Sum of `values` (K,) over the boxes that cover each pixel: (H, W), float64, by corners and cumulative sums."""
    top, left, bottom, right = boxes.unbind(1)
    corners = torch.zeros((size[0] + 1) * (size[1] + 1), dtype=torch.float64, device=values.device)
    width = size[1] + 1
    for row, column, sign in ((top, left, 1), (bottom, left, -1), (top, right, -1), (bottom, right, 1)):
        corners.index_add_(0, row * width + column, sign * values.double())
    return corners.view(size[0] + 1, width).cumsum(0).cumsum(1)[:-1, :-1]


def saliency_sum(
    boxes: Tensor, scores: Tensor, size: tuple[int, int], window: Window = "keep", weights: Tensor | None = None
) -> Tensor:
    """Mean score of the masks that keep a pixel (paper, eq. 5); 0 where none keeps it.

    Args:
        boxes: (K, 4), windows.
        scores: (K,), probability of the target under each mask.
        size: (H, W) in pixels.
        window: "keep" keeps the window and removes the rest, "remove" the reverse.
        weights: of the windows in the mean, (K,), positive; by default all count alike.

    Returns:
        (H, W), float32.

    Raises:
        ValueError: not one score a window, or an unknown kind of window.

    Example:
        >>> import torch
        >>> boxes = torch.tensor([[0, 0, 1, 2], [0, 1, 1, 3]])
        >>> saliency_sum(boxes, torch.tensor([1.0, 0.0]), (1, 3))
        tensor([[1.0000, 0.5000, 0.0000]])
    """
    if boxes.ndim != 2 or boxes.shape[1] != 4 or scores.shape != boxes.shape[:1]:
        raise ValueError(
            f"Got boxes {tuple(boxes.shape)} and scores {tuple(scores.shape)}, expected (K, 4) and (K,): one score a "
            "window."
        )
    if window not in ("keep", "remove"):
        raise ValueError(f"Got window={window!r}, expected 'keep' or 'remove'.")
    ones = torch.ones_like(scores, dtype=torch.float64)
    weights = ones if weights is None else weights.to(ones)
    total, kept = _box_sum(boxes, weights * scores, size), _box_sum(boxes, weights, size)
    count = _box_sum(boxes, ones, size).round()
    if window == "remove":
        total, kept, count = (weights * scores).sum() - total, weights.sum() - kept, len(scores) - count
    # By the count, which is exact, whether any is kept.
    return torch.where(count > 0, total / kept.where(count > 0, 1), 0.0).float()
