"""Pixels removed or inserted in the order of a map, one instance at a time: their masks are large."""

from collections.abc import Sequence

import torch
from torch import Tensor

from fex.black_box.base import BlackBox
from fex.images.features import PatchGrid
from fex.masking.masker import Masker, masked_probabilities
from fex.metrics.functional.perturbation import Order, perturbation_curve, rank_features
from fex.metrics.functional.regions import salient_region
from fex.modality import Removal
from fex.seeding import pixel_seeds

__all__ = ["deletion_curve", "insertion_curve", "region_deletion_curve"]


def _pixels(black_box: BlackBox, removal: Removal, inputs: Tensor) -> Masker:
    return Masker(PatchGrid(inputs.shape[-2], inputs.shape[-1]), removal, black_box.mean)


def deletion_curve(
    black_box: BlackBox,
    removal: Removal,
    inputs: Tensor,
    maps: Tensor,
    target: Tensor,
    clean: Tensor,
    *,
    fractions: Sequence[float],
    order: Order = "most_important_first",
    seed: int = 0,
) -> Tensor:
    """Probability of the target with the shares of the pixels removed, most important first (RISE).

    Args:
        black_box: spends B queries a share above 0.
        removal: fill.
        inputs: (B, 3, H, W), in [0, 1].
        maps: (B, H, W).
        target: (B,), int64.
        clean: probabilities (B, C) of the inputs.
        fractions: S shares, ascending.
        order: in which they are removed.
        seed: of ties.

    Returns:
        (B, S), float32.
    """
    masker = _pixels(black_box, removal, inputs)
    parts = [
        perturbation_curve(
            black_box,
            masker,
            inputs[row : row + 1],
            maps[row : row + 1].flatten(1),
            fractions=fractions,
            order=order,
            measure="probability",
            target=target[row : row + 1],
            clean=clean[row : row + 1],
            seed=seed,
        )
        for row in range(len(inputs))
    ]
    return torch.cat(parts)


def insertion_curve(
    black_box: BlackBox, removal: Removal, *instances: Tensor, fractions: Sequence[float], seed: int = 0
) -> Tensor:
    """Probability of the target with the shares of the pixels inserted into the fill, most important first (RISE).

    Inserting the top share r is removing the least important 1 - r. Arguments as of `deletion_curve`; `instances` are
    its inputs, maps, targets and clean probabilities.

    Returns:
        (B, S), float32.
    """
    removed = [1 - share for share in reversed(fractions)]
    found = deletion_curve(black_box, removal, *instances, fractions=removed, order="least_important_first", seed=seed)
    return found.flip(1)


def region_deletion_curve(
    black_box: BlackBox,
    removal: Removal,
    inputs: Tensor,
    maps: Tensor,
    target: Tensor,
    *,
    levels: Sequence[float],
    seed: int = 0,
) -> Tensor:
    """1 where the box still says the target with a share of the salient region removed, else 0 (DAX).

    The region is `salient_region`, most important pixels first; level 1 removes all of it and nothing else.

    Args:
        black_box: spends B queries a level.
        removal: fill.
        inputs: (B, 3, H, W), in [0, 1].
        maps: (B, H, W).
        target: (B,), int64.
        levels: S shares of the region, in [0, 1].
        seed: of ties.

    Returns:
        (B, S), float32.

    Raises:
        ValueError: a level outside [0, 1].
    """
    if not levels or min(levels) < 0 or max(levels) > 1:
        raise ValueError(f"Got levels {tuple(levels)}, expected shares of the salient region in [0, 1].")
    masker, shares = _pixels(black_box, removal, inputs), torch.tensor(levels, dtype=torch.float64)
    ranks = rank_features(maps.flatten(1), pixel_seeds(inputs, seed))
    sizes = salient_region(maps).flatten(1).sum(1)
    curves = []
    for row in range(len(inputs)):
        removed = (shares * int(sizes[row])).round().long().to(ranks.device)
        masks = ranks[row] >= removed[:, None]  # (S, N)
        scores = masked_probabilities(black_box, masker, inputs[row : row + 1], masks[None])[0]
        curves.append((scores.argmax(1) == target[row]).float())
    return torch.stack(curves)
