"""Regions of attribution maps by threshold, and what they share with ground-truth masks."""

from torch import Tensor

from fex.metrics.functional.segmentation import normalise_maps

__all__ = ["activated_region", "f1_score", "foreground_iou", "salient_region", "top_activated"]


def salient_region(maps: Tensor) -> Tensor:
    """Above the map's own mean plus one standard deviation (DAX): (B, ...) -> bool (B, ...); none in a constant map.

    Example:
        >>> import torch
        >>> salient_region(torch.tensor([[0.0, 0.0, 0.0, 1.0]]))
        tensor([[False, False, False,  True]])
    """
    flat = maps.double().flatten(1)
    threshold = flat.mean(1, keepdim=True) + flat.std(1, correction=0, keepdim=True)
    varies = flat.amax(1, keepdim=True) > flat.amin(1, keepdim=True)  # rounding would make a constant exceed its mean
    return ((flat > threshold) & varies).view(maps.shape)


def activated_region(maps: Tensor, threshold: float = 0.3) -> Tensor:
    """Above `threshold` of the map scaled to [0, 1] (IASSA): (B, ...) -> bool (B, ...)."""
    return normalise_maps(maps) > threshold


def top_activated(maps: Tensor, share: float = 0.3) -> Tensor:
    """Number of pixels in the top `share` of the map's range (IASSA's pixel level): (B, ...) -> (B,), float32.

    A constant map activates all of its pixels alike.
    """
    scaled = normalise_maps(maps).flatten(1)
    constant = scaled.amax(1) == 0
    return (scaled >= 1 - share).sum(1).where(~constant, scaled.shape[1]).float()


def foreground_iou(counts: Tensor) -> Tensor:
    """Intersection over union: counts (..., 4) of `confusion` -> (...), float32; NaN where both are empty."""
    true, false_positive, missed, _ = counts.double().unbind(-1)
    return (true / (true + false_positive + missed)).float()


def f1_score(counts: Tensor) -> Tensor:
    """2 TP / (2 TP + FP + FN): counts (..., 4) of `confusion` -> (...), float32; NaN where both are empty."""
    true, false_positive, missed, _ = counts.double().unbind(-1)
    return (2 * true / (2 * true + false_positive + missed)).float()
