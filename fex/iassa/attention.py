"""Long-range, parameter-free spatial attention (paper, eq. 9 and 10): softmax(Phi Phi^T) S, never the matrix itself."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["SpatialAttention", "fuse_levels", "spatial_attention"]

KEPT_BYTES = 160_000_000
_RANGE = 100.0  # exp(-_RANGE / 2) is a float32 still
_KEPT_RANGE = 5.0  # the same, of what is kept in half precision: exp(5 / 2) times 6e-8 is nothing


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
    return SpatialAttention(features, scale=scale, chunk=chunk)(values)


class SpatialAttention:
    """`spatial_attention` of one input for several maps, one after another.

    exp(scale phi_i phi_j) = G_ij exp((a_i + a_j) / 2), with the Gaussian G_ij = exp(-scale |phi_i - phi_j|^2 / 2) and
    a_i = scale |phi_i|^2, which cancels in row i. G is symmetric, so that half of it is enough, and 1 on its
    diagonal, so that no row's largest number need be looked for. (Where the lengths differ too much for that, the rows
    are taken as they are.)

    Args:
        features: see `spatial_attention`.
        scale: see there.
        chunk: see there.
        keep: keep half of G in half precision from the first map on, where that takes at most 160 MB (157 MB at
            112 x 112) and the features are of about one length: the next maps need no inner products.

    Raises:
        ValueError: features that are not (L, C), or a chunk below 1.
    """

    def __init__(self, features: Tensor, *, scale: float = 1.0, chunk: int = 512, keep: bool = False) -> None:
        if features.ndim != 2:
            raise ValueError(f"Got features {tuple(features.shape)}, expected (L, C): one row a place.")
        if chunk < 1:
            raise ValueError(f"Got chunk={chunk}, expected at least 1 row.")
        self.features, self.scale, self.chunk = features.float(), scale, chunk
        self.keep = keep and len(features) ** 2 <= KEPT_BYTES  # half of L^2 numbers of two bytes
        self._kept: list[Tensor] = []

    @torch.no_grad()
    def __call__(self, values: Tensor) -> Tensor:
        """A S of the map S (L,): (L,), float32.

        Raises:
            ValueError: not one value a place.
        """
        if values.shape != self.features.shape[:1]:
            raise ValueError(
                f"Got features {tuple(self.features.shape)} and values {tuple(values.shape)}, expected (L, C) and "
                "(L,): one value a place."
            )
        with torch.autocast(values.device.type, enabled=False):  # ties in a map are a silent Random
            return self._attend(values.float())

    def _attend(self, values: Tensor) -> Tensor:
        lengths = self.scale * self.features.square().sum(1)
        spread = float(lengths.max() - lengths.min())
        if self.scale < 0 or spread > _RANGE:
            logits = (self.scale * rows @ self.features.T for rows in self.features.split(self.chunk))
            return torch.cat([part.softmax(1) @ values for part in logits])
        # In half precision what is below 6e-8 is lost, which a place of a large length may outweigh.
        self.keep &= spread < _KEPT_RANGE
        share = ((lengths - lengths.max()) / 2).exp()
        both = torch.stack([share * values, share], 1)  # numerator and denominator
        sums = torch.zeros_like(both)
        start = 0
        for kernel in self._kernels(lengths):
            stop = start + len(kernel)
            sums[start:stop] += kernel @ both[start:]
            sums[stop:] += kernel[:, len(kernel) :].T @ both[start:stop]
            start = stop
        return sums[:, 0] / sums[:, 1]

    def _kernels(self, lengths: Tensor) -> Iterator[Tensor]:
        """Rows of G from the diagonal on, `chunk` at a time."""
        if self._kept:
            yield from (kernel.float() for kernel in self._kept)
            return
        ones, half = torch.ones_like(lengths), -0.5 * lengths
        left = torch.cat([self.features * self.scale, half[:, None], ones[:, None]], 1)
        right = torch.cat([self.features, ones[:, None], half[:, None]], 1)
        kept = []
        for start in range(0, len(left), self.chunk):
            kernel = (left[start : start + self.chunk] @ right[start:].T).exp_()
            if self.keep:
                kept.append(kernel.half())
            yield kernel
        self._kept = kept
