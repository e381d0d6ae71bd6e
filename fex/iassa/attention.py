"""Long-range, parameter-free spatial attention (paper, eq. 9 and 10): softmax(Phi Phi^T) S, never the matrix itself."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["fuse_levels", "spatial_attention"]

_RANGE = 100.0  # exp(-_RANGE / 2) is a float32 still


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

    Attention with the features as queries and keys and the map as values, `chunk` rows at a time and each pair of
    places once: at 112 x 112 the whole of A would take 630 MB.

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
    with torch.autocast(features.device.type, enabled=False):  # ties in a map are a silent Random
        return _attend(features.float(), values.float(), scale, chunk)


def _attend(features: Tensor, values: Tensor, scale: float, chunk: int) -> Tensor:
    """The rows' weighted means, by half of a symmetric kernel where their lengths allow it.

    exp(scale phi_i phi_j) = G_ij exp((a_i + a_j) / 2), with the Gaussian G_ij = exp(-scale |phi_i - phi_j|^2 / 2) and
    a_i = scale |phi_i|^2, which cancels in row i. G is symmetric, so that half of it is enough, and 1 on its
    diagonal, so that no row's largest number need be looked for.
    """
    lengths = scale * features.square().sum(1)
    if scale < 0 or float(lengths.max() - lengths.min()) > _RANGE:
        logits = (scale * rows @ features.T for rows in features.split(chunk))
        return torch.cat([part.softmax(1) @ values for part in logits])
    ones, half = torch.ones_like(lengths), -0.5 * lengths
    left = torch.cat([features * scale, half[:, None], ones[:, None]], 1)
    right = torch.cat([features, ones[:, None], half[:, None]], 1)
    share = ((lengths - lengths.max()) / 2).exp()
    both = torch.stack([share * values, share], 1)  # numerator and denominator
    sums = torch.zeros_like(both)
    for start in range(0, len(features), chunk):
        stop = min(start + chunk, len(features))
        kernel = (left[start:stop] @ right[start:].T).exp_()
        sums[start:stop] += kernel @ both[start:]
        sums[stop:] += kernel[:, stop - start :].T @ both[start:stop]
    return sums[:, 0] / sums[:, 1]
