"""Perturbed copies of one input, kept as segment indicators: 6000 copies of a photograph take half a megabyte."""

from dataclasses import dataclass
from math import sqrt

import torch
from torch import Tensor

from fex.black_box.base import BlackBox
from fex.images.features import PatchGrid
from fex.images.segments import Segments
from fex.masking.masker import Masker, masked_probabilities

__all__ = ["Perturbations", "draw_kept", "proximity_weights", "working_size"]

MOST = 10.0  # times the median
BLOCK = 512  # rows of indicators turned into pixels' worth of masks at a time


def draw_kept(count: int, num_segments: int, generator: torch.Generator) -> Tensor:
    """Which segments each sample keeps, each with probability 1/2; the first sample is the input itself.

    Returns:
        Bool (Q, S).

    Raises:
        ValueError: fewer than 2 samples: one to learn from and one to validate on.
    """
    if count < 2:
        raise ValueError(f"Got a budget of {count} samples, expected at least 2: one to learn from, one to check on.")
    kept = torch.rand(count, num_segments, generator=generator) < 0.5
    kept[0] = True
    return kept


def proximity_weights(kept: Tensor, energy: Tensor) -> Tensor:
    """gamma: the inverse distance of each sample from the input, with mean 1.

    The distance is that of the pixels, which segments make a sum: sqrt of the energy that was removed. Samples equal
    to the input get the largest finite weight there is, not infinity. None gets more than ten times the median: on a
    ground that is next to its fill, copies that lose only ground would be all that counts. (On photographs the largest
    is less than three times the mean.)

    Args:
        kept: bool (Q, S).
        energy: (S,), sum over a segment's pixels and colours of (input - fill)^2.

    Returns:
        (Q,), float32.
    """
    distance = ((~kept).double() @ energy.double()).clamp(min=0).sqrt()
    moved = distance > 0
    if not bool(moved.any()):
        return torch.ones(len(kept))
    inverse = 1 / distance.where(moved, distance[moved].min())
    inverse = inverse.clamp(max=MOST * inverse.median())
    return (inverse / inverse.mean()).float()


def working_size(size: tuple[int, int], resolution: int) -> tuple[int, int]:
    """The size of `size`'s shape with about resolution^2 pixels, and never more than it has.

    Example:
        >>> working_size((224, 224), 56), working_size((64, 344), 56)
        ((56, 56), (24, 130))
    """
    if resolution < 1:
        raise ValueError(f"Got resolution={resolution}, expected at least 1 pixel.")
    scale = min(1.0, resolution / sqrt(size[0] * size[1]))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


@dataclass(frozen=True, eq=False)
class Perturbations:
    """What one input's neighbourhood is fitted on.

    A perturbed copy is fill + sum over its kept segments of (input - fill) there, so at any coarser resolution what it
    has beyond its fill is ``kept @ parts``, exactly the average over its pixels. That is what the networks see: what
    is removed, by a segment or by a mask, is 0.

    Attributes:
        segments: of the input.
        kept: bool (Q, S); row 0 is the input.
        scores: probability of the target, (Q,), float32.
        weights: gamma, (Q,), float32, mean 1.
        parts: what each segment adds at the working resolution, (S, 3, h, w), in units of the whole's root mean square.
    """

    segments: Segments
    kept: Tensor
    scores: Tensor
    weights: Tensor
    parts: Tensor

    @classmethod
    def query(
        cls,
        black_box: BlackBox,
        masker: Masker,
        inputs: Tensor,
        target: Tensor,
        *,
        count: int,
        resolution: int,
        seed: int,
    ) -> "Perturbations":
        """Draws the samples and asks the black box, `count` queries.

        Args:
            black_box: what is explained.
            masker: with the segments of this input as features.
            inputs: the one input, (1, 3, H, W), in [0, 1].
            target: (1,), int64.
            count: Q.
            resolution: see `working_size`.
            seed: of the samples.
        """
        segments: Segments = masker.features  # type: ignore[assignment]
        kept = draw_kept(count, segments.num_features, torch.Generator().manual_seed(seed))
        fill = masker.fill(inputs)
        scores = [
            masked_probabilities(black_box, masker, inputs, part[None].to(inputs.device), target, fill=fill)[0]
            for part in kept.split(BLOCK)
        ]
        added = (inputs - fill).float()[0]  # (3, H, W)
        energy = added.new_zeros(segments.num_features)
        energy.index_add_(0, segments.labels.to(added.device).flatten(), added.square().sum(0).flatten())
        weights = proximity_weights(kept, energy.cpu()).to(inputs.device)
        parts = _coarse(segments, added, working_size(added.shape[1:], resolution))  # type: ignore[arg-type]
        parts = parts / parts.sum(0).square().mean().sqrt().clamp(min=1e-6)
        return cls(segments, kept.to(inputs.device), torch.cat(scores), weights, parts)


def _coarse(segments: Segments, added: Tensor, size: tuple[int, int]) -> Tensor:
    """Averages over cells of what each segment adds, (S, 3, h, w)."""
    grid, full = PatchGrid(*size), (added.shape[-2], added.shape[-1])
    labels = segments.labels.to(added.device)
    cells = grid.expand(torch.arange(grid.num_features, device=added.device), full)
    area = torch.bincount(cells.flatten(), minlength=grid.num_features)
    places = (labels * grid.num_features + cells).flatten()
    parts = added.new_zeros(3, segments.num_features * grid.num_features).index_add_(1, places, added.flatten(1))
    parts = parts.view(3, segments.num_features, *size).transpose(0, 1) / area.view(size)
    return parts.contiguous()
