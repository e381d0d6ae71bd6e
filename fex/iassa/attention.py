"""Long-range, parameter-free spatial attention (paper, eq. 9 and 10): softmax(Phi Phi^T) S, never the matrix itself."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["fuse_levels", "spatial_attention"]


def fuse_levels(levels: Sequence[Tensor], *, normalise: bool = True) -> Tensor:
    """Feature maps of several levels, brought to the first one's size and joined (eq. 9).

    Args:
        levels: (B, C_i, h_i, w_i), the finest first.
        normalise: scale the vector of each level and place to length 1. Raw inner products of deep features are in the
            hundreds, which makes the softmax one-hot, and A the identity.

    Returns:
        (B, sum of C_i, h_1, w_1), float32.

    Raises:
        ValueError: no levels.
    """
    if not levels:
        raise ValueError("fuse_levels got no feature maps, expected at least one level.")
    size = levels[0].shape[-2:]
    fused = []
    for level in levels:
        level = level.float()
        if level.shape[-2:] != size:
            level = F.interpolate(level, size=size, mode="bilinear", align_corners=False)
        fused.append(F.normalize(level, dim=1) if normalise else level)
    return torch.cat(fused, dim=1)


def spatial_attention(features: Tensor, values: Tensor, *, scale: float = 1.0, chunk: int = 512) -> Tensor:
    """A S with A = softmax over each row of scale * Phi Phi^T: every place gets the mean of the places like it.

    Attention with the features as queries and keys and the map as values, `chunk` rows of A at a time: at 112 x 112 the
    whole of A would take 630 MB.

    Args:
        features: Phi', (L, C), float32: one row a place.
        values: S, (L,), float.
        scale: factor of the inner products; 1 is the paper's.
        chunk: rows of A at a time.

    Returns:
        (L,), float32, within the range of `values`.

    Raises:
        ValueError: not one value a place, or a chunk below 1.
    """
    if features.ndim != 2 or values.shape != features.shape[:1]:
        raise ValueError(
            f"Got features {tuple(features.shape)} and values {tuple(values.shape)}, expected (L, C) and (L,): one "
            "value a place."
        )
    if chunk < 1:
        raise ValueError(f"Got chunk={chunk}, expected at least 1 row.")
    keys, column = features[None, None], values.float()[None, None, :, None]
    with torch.autocast(features.device.type, enabled=False):  # ties in a map are a silent Random
        parts = [
            F.scaled_dot_product_attention(rows[None, None], keys, column, scale=scale).flatten()
            for rows in features.split(chunk)
        ]
    return torch.cat(parts)
