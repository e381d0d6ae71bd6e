"""What a black box makes of an input whose features are removed one after another, in the order of an attribution."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from fex.black_box.base import BlackBox, resolve_target
from fex.masking.masker import Masker, masked_probabilities

__all__ = ["Measure", "Order", "mean_auc", "perturbation_curve", "rank_features", "removal_masks", "trapezoid_auc"]

Order = Literal["most_important_first", "least_important_first"]
Measure = Literal["agreement", "probability"]


def rank_features(scores: Tensor, seeds: Sequence[int], valid: Tensor | None = None) -> Tensor:
    """Rank of each feature, 0 = most important; ties are broken at random, by each instance's own seed.

    Ties in the order of the grid would make a constant map remove the picture from the top down; so it removes at
    random. The least important first is the same order read backwards.

    Args:
        scores: (B, N), any float; compared as float32.
        seeds: B seeds (`Features.seeds`).
        valid: which entries are features (B, N), bool; others come last, and what they are does not matter. None: all.

    Returns:
        Ranks (B, N), int64, a permutation of 0 ... N - 1 in each row.

    Raises:
        ValueError: scores that are not (B, N), that are NaN, or not one seed an instance.

    Example:
        >>> rank_features(torch.tensor([[0.1, 0.9, 0.5]]), [0])
        tensor([[2, 0, 1]])
    """
    if scores.ndim != 2 or len(scores) != len(seeds):
        raise ValueError(f"Got scores of shape {tuple(scores.shape)} and {len(seeds)} seeds, expected (B, N) and B.")
    nan = scores.isnan().any(1)
    if bool(nan.any()):
        raise ValueError(f"Attributions are NaN in {int(nan.sum())} of {len(scores)} instances: they have no order.")
    shuffle = torch.empty(scores.shape, dtype=torch.int64)
    for number, (row, seed) in enumerate(zip(shuffle, seeds, strict=True)):
        own, rest = _places(scores.shape[1], None if valid is None else valid[number].cpu())
        draw = torch.randperm(len(own), generator=torch.Generator().manual_seed(seed))
        torch.cat([own[draw], rest], out=row)
    shuffle = shuffle.to(scores.device)
    count = scores.shape[1]
    if valid is not None:
        scores = scores.float().masked_fill(~valid, -torch.inf)
    order = scores.float().gather(1, shuffle).argsort(dim=1, descending=True, stable=True)
    order = shuffle.gather(1, order)
    places = torch.arange(count, device=scores.device).expand_as(order)
    return torch.empty_like(order).scatter_(1, order, places)


def _places(count: int, valid: Tensor | None) -> tuple[Tensor, Tensor]:
    """Indices of the features, and of the other entries."""
    if valid is None:
        return torch.arange(count), torch.arange(0)
    return valid.nonzero()[:, 0], (~valid).nonzero()[:, 0]


def removal_masks(ranks: Tensor, fractions: Sequence[float], order: Order) -> Tensor:
    """Masks with the share r of the features removed, round(r N) of them, for each r.

    Args:
        ranks: (B, N), int64, 0 = most important.
        fractions: S shares in [0, 1].
        order: which end goes first.

    Returns:
        Bool (B, S, N), True = kept.

    Raises:
        ValueError: a share outside [0, 1]; an unknown order.
    """
    if not fractions or min(fractions) < 0 or max(fractions) > 1:
        raise ValueError(f"Got fractions {tuple(fractions)}, expected shares of removed features in [0, 1].")
    if order not in ("most_important_first", "least_important_first"):
        raise ValueError(f"Got order {order!r}, expected 'most_important_first' or 'least_important_first'.")
    count = ranks.shape[1]
    removed = torch.tensor([round(share * count) for share in fractions], device=ranks.device)[:, None]
    place = ranks if order == "most_important_first" else count - 1 - ranks
    return place[:, None, :] >= removed


def perturbation_curve(
    black_box: BlackBox,
    masker: Masker,
    inputs: Tensor,
    scores: Tensor,
    *,
    fractions: Sequence[float],
    order: Order,
    measure: Measure = "agreement",
    target: Tensor | None = None,
    clean: Tensor | None = None,
    seed: int = 0,
) -> Tensor:
    """The box's answer after each share of the features is removed, for each instance.

    Args:
        black_box: spends B queries for each share above 0, and B for the clean inputs where `clean` is not given.
        masker: features and removal.
        inputs: (B, 3, H, W), float, RGB in [0, 1].
        scores: attributions (B, N), float.
        fractions: S shares removed, in [0, 1].
        order: "most_important_first" (positive perturbation) or "least_important_first" (negative).
        measure: "agreement", 1 where the top class is the target, else 0; "probability" of the target.
        target: (B,), int64; by default the top class of the clean input.
        clean: probabilities (B, C) of the inputs, to share that point between the two orders.
        seed: seed of the ties; together with the pixels it decides them, whatever the batch.

    Returns:
        (B, S), float32.

    Raises:
        ValueError: shapes, shares, order or measure that do not fit; NaN scores.
    """
    if measure not in ("agreement", "probability"):
        raise ValueError(f"Got measure {measure!r}, expected 'agreement' or 'probability'.")
    count = masker.features.count(inputs)
    if scores.shape != (len(inputs), count):
        raise ValueError(
            f"Got scores of shape {tuple(scores.shape)}, expected ({len(inputs)}, {count}): "
            "one row an input, one column a feature of the masker."
        )
    clean = black_box(inputs) if clean is None else clean
    classes = resolve_target(target, clean, black_box.class_names)
    masks = removal_masks(rank_features(scores, masker.features.seeds(inputs, seed)), fractions, order)
    # Shares so small that they remove nothing are the clean point, already known.
    touched = ~masks.all(dim=(0, 2))
    points = clean.unsqueeze(1).repeat(1, len(fractions), 1)  # (B, S, C)
    if bool(touched.any()):
        points[:, touched] = masked_probabilities(black_box, masker, inputs, masks[:, touched])
    if measure == "probability":
        return points.gather(2, classes.view(-1, 1, 1).expand(-1, len(fractions), 1)).squeeze(2)
    return (points.argmax(2) == classes[:, None]).float()


def mean_auc(curves: Tensor) -> Tensor:
    """Mean of the points: (..., S) -> (...)."""
    return curves.mean(-1)


def trapezoid_auc(curves: Tensor, fractions: Sequence[float]) -> Tensor:
    """Area by trapezoids over the shares removed, not divided by their span: (..., S) -> (...).

    Raises:
        ValueError: not one share a point.
    """
    if curves.shape[-1] != len(fractions):
        raise ValueError(f"Got {curves.shape[-1]} points for {len(fractions)} fractions, expected one each.")
    return torch.trapezoid(curves, torch.tensor(fractions, dtype=curves.dtype, device=curves.device), dim=-1)
