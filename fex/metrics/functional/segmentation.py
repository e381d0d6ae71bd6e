"""Attribution maps against ground-truth masks: confusion counts, accuracy, IoU, average precision, pointing game.

Pixels of which the ground truth says nothing (the void border of VOC) are `ignored`: they are neither right nor wrong.
A region or a scale is the map's own, of all its pixels, whatever the ground truth says.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = [
    "average_precision",
    "confusion",
    "foreground",
    "mean_iou",
    "normalise_maps",
    "pixel_accuracy",
    "pointing_game",
    "two_class_average_precision",
]


def _check(maps: Tensor, masks: Tensor, ignored: Tensor | None = None) -> None:
    if maps.shape != masks.shape or maps.ndim < 2:
        raise ValueError(
            f"Got maps of shape {tuple(maps.shape)} and masks of shape {tuple(masks.shape)}, expected (B, H, W) twice."
        )
    if masks.dtype is not torch.bool:
        raise ValueError(f"Got masks of {masks.dtype}, expected bool: True = foreground.")
    if not bool(torch.isfinite(maps).all()):
        raise ValueError("Got attribution maps with NaN or infinite values.")
    if ignored is not None and (ignored.shape != masks.shape or ignored.dtype is not torch.bool):
        raise ValueError(
            f"Got ignored pixels of shape {tuple(ignored.shape)} and type {ignored.dtype}, expected bool "
            f"{tuple(masks.shape)}, as the masks: True = not counted."
        )


def normalise_maps(maps: Tensor) -> Tensor:
    """Each map from its own minimum to its own maximum: (B, ...) -> (B, ...) in [0, 1]; a constant map gives 0."""
    flat = maps.float().flatten(1)
    low, high = flat.amin(1, keepdim=True), flat.amax(1, keepdim=True)
    span = high - low
    return torch.where(span > 0, (flat - low) / span.where(span > 0, 1.0), 0.0).view_as(maps)


def foreground(maps: Tensor) -> Tensor:
    """Where a map, scaled to [0, 1], is above its mean: (B, H, W) -> bool (B, H, W)."""
    scaled = normalise_maps(maps).flatten(1)
    return (scaled > scaled.mean(1, keepdim=True)).view_as(maps)


def confusion(predicted: Tensor, masks: Tensor, ignored: Tensor | None = None) -> Tensor:
    """Pixels of each image that are true positive, false positive, false negative, true negative.

    Args:
        predicted: bool (B, H, W), True = foreground.
        masks: bool (B, H, W).
        ignored: pixels that are not counted, bool (B, H, W); None counts all.

    Returns:
        (B, 4), int64; sums over images are what `pixel_accuracy` and `mean_iou` take.

    Raises:
        ValueError: shapes or types that do not fit.
    """
    _check(predicted, masks, ignored)
    pairs = [predicted & masks, predicted & ~masks, ~predicted & masks, ~predicted & ~masks]
    if ignored is not None:
        pairs = [pair & ~ignored for pair in pairs]
    return torch.stack([pair.flatten(1).sum(1) for pair in pairs], dim=1)


def pixel_accuracy(counts: Tensor) -> Tensor:
    """Share of right pixels: counts (..., 4) of `confusion`, or their sums or means -> (...)."""
    counts = counts.double()
    return ((counts[..., 0] + counts[..., 3]) / counts.sum(-1)).float()


def mean_iou(counts: Tensor) -> Tensor:
    """Mean of the IoU of foreground and background: counts (..., 4) -> (...).

    A class that is neither predicted nor there leaves the other one's IoU alone.
    """
    true, false_positive, missed, background = counts.double().unbind(-1)
    wrong = false_positive + missed
    return torch.stack([true / (true + wrong), background / (background + wrong)]).nanmean(0).float()


def average_precision(scores: Tensor, truth: Tensor, ignored: Tensor | None = None) -> Tensor:
    """Sum over thresholds of (R_n - R_{n-1}) P_n, each row alone; equal scores are one threshold.

    Args:
        scores: (B, ...), float.
        truth: (B, ...), bool.
        ignored: what is not counted, (B, ...), bool; None counts all.

    Returns:
        (B,), float32; NaN where a row has no positive: it has no precision.

    Raises:
        ValueError: shapes or types that do not fit.

    Example:
        >>> average_precision(torch.tensor([[0.9, 0.8, 0.1]]), torch.tensor([[True, False, True]]))
        tensor([0.8333])
    """
    _check(scores, truth, ignored)
    scores = scores.float()
    if (
        ignored is not None
    ):  # last, as negatives at a threshold of their own, which finds nothing: no precision, no recall
        scores, truth = scores.masked_fill(ignored, -torch.inf), truth & ~ignored
    ranked, order = scores.flatten(1).sort(dim=1, descending=True)
    hits = truth.flatten(1).gather(1, order).double().cumsum(1)
    last = torch.ones_like(ranked, dtype=torch.bool)
    last[:, :-1] = ranked[:, 1:] != ranked[:, :-1]  # only the end of a run of equal scores is a threshold
    seen = torch.arange(1, ranked.shape[1] + 1, device=ranked.device)
    before = torch.where(last, hits, 0).cummax(1).values.roll(1, 1)
    before[:, 0] = 0
    precision = ((hits - before) * (hits / seen) * last).sum(1)
    return (precision / hits[:, -1]).float()  # 0 / 0 = NaN


def two_class_average_precision(maps: Tensor, masks: Tensor, ignored: Tensor | None = None) -> Tensor:
    """AP of background and foreground scores in one list, 1 - s with "is background" and s with "is foreground".

    Source: the evaluation of Chefer et al. 2021, which calls the mean of it mAP; s is the map scaled to [0, 1]. The
    background is most of a photograph, so values are higher than those of `average_precision` and not comparable.

    Args:
        maps: (B, H, W), float.
        masks: (B, H, W), bool.
        ignored: pixels that are not counted, (B, H, W), bool; None counts all.

    Returns:
        (B,), float32; NaN where all pixels are ignored.
    """
    _check(maps, masks, ignored)
    scaled, truth = normalise_maps(maps).flatten(1), masks.flatten(1)
    without = None if ignored is None else ignored.flatten(1).repeat(1, 2)
    return average_precision(torch.cat([1 - scaled, scaled], 1), torch.cat([~truth, truth], 1), without)


def pointing_game(maps: Tensor, masks: Tensor, tolerance: int = 0, ignored: Tensor | None = None) -> Tensor:
    """1 where the map's maximum lies on the foreground (Zhang et al. 2016); several maxima count by their share.

    Args:
        maps: (B, H, W), float.
        masks: (B, H, W), bool.
        tolerance: pixels by which a hit may miss, in any direction (a disc); 0 here, 15 in the original.
        ignored: pixels on which no maximum is looked for, (B, H, W), bool; None looks on all.

    Returns:
        (B,), float32 in [0, 1]; NaN where an image has no foreground.

    Raises:
        ValueError: shapes or types that do not fit; a negative tolerance.
    """
    _check(maps, masks, ignored)
    if tolerance < 0:
        raise ValueError(f"Got tolerance={tolerance}, expected a number of pixels >= 0.")
    if ignored is not None:
        masks, maps = masks & ~ignored, maps.float().masked_fill(ignored, -torch.inf)
    near = masks
    if tolerance > 0:
        offsets = torch.arange(-tolerance, tolerance + 1, device=masks.device)
        disc = (offsets[:, None] ** 2 + offsets**2 <= tolerance**2).float()
        near = F.conv2d(masks.float().unsqueeze(1), disc[None, None], padding=tolerance).squeeze(1) > 0.5
    flat = maps.flatten(1)
    top = flat == flat.amax(1, keepdim=True)
    hit = (top & near.flatten(1)).sum(1) / top.sum(1)
    return hit.float().where(masks.flatten(1).any(1), torch.nan)
