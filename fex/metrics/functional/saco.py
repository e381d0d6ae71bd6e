"""Salience-guided faithfulness coefficient: do the sizes of attributions order the sizes of their effects?

Source: Wu et al. 2024, "On the Faithfulness of Vision Transformer Explanations" (SaCo). Features are ranked and cut
into G groups of equal size; each pair of groups votes with the difference of their saliences, for the explanation
where the more salient group also has the larger effect, or the same, and against it where not. The authors add the
saliences of a group; the mean is the same coefficient where groups are equal, and keeps their order where N is no
multiple of G.
"""

import torch
from torch import Tensor

__all__ = ["group_masks", "group_means", "salience_coefficient"]


def _groups(ranks: Tensor, count: int) -> Tensor:
    """Group of each feature, 0 = most salient: (B, N), int64."""
    features = ranks.shape[1]
    if not 2 <= count <= features:
        raise ValueError(f"Got {count} groups for {features} features, expected 2 ... {features}.")
    return ranks * count // features


def group_masks(ranks: Tensor, count: int) -> Tensor:
    """Masks with one group removed each.

    Args:
        ranks: (B, N), int64, 0 = most salient (`rank_features`).
        count: G groups, whose sizes differ by one at most.

    Returns:
        Bool (B, G, N), True = kept.

    Raises:
        ValueError: fewer than 2 groups, or more than features.

    Example:
        >>> group_masks(torch.tensor([[0, 2, 1, 3]]), 2)
        tensor([[[False,  True, False,  True],
                 [ True, False,  True, False]]])
    """
    return _groups(ranks, count)[:, None, :] != torch.arange(count, device=ranks.device)[:, None]


def group_means(scores: Tensor, ranks: Tensor, count: int) -> Tensor:
    """Mean score of each group: float (B, N) and ranks (B, N) -> (B, G), float64, descending."""
    removed = (~group_masks(ranks, count)).double()
    return (removed * scores.double()[:, None, :]).sum(2) / removed.sum(2)


def salience_coefficient(saliences: Tensor, effects: Tensor) -> Tensor:
    """Weighted share of the pairs of groups in right order, minus that in wrong order.

    Args:
        saliences: of the groups (B, G), descending.
        effects: fall of the target's probability when each group is removed (B, G).

    Returns:
        (B,), float32 in [-1, 1]; NaN where all saliences are equal, which order nothing, or all effects, which any
        order would fit.

    Raises:
        ValueError: shapes that differ, or saliences that rise.

    Example:
        >>> salience_coefficient(torch.tensor([[3.0, 2.0, 1.0]]), torch.tensor([[0.5, 0.1, 0.2]]))
        tensor([0.5000])
    """
    if saliences.shape != effects.shape or saliences.ndim != 2:
        raise ValueError(
            f"Got saliences of shape {tuple(saliences.shape)} and effects of {tuple(effects.shape)}, expected (B, G)."
        )
    if bool((saliences.diff(dim=1) > 0).any()):
        raise ValueError("Got saliences that rise from one group to the next, expected the most salient first.")
    first, second = torch.triu_indices(saliences.shape[1], saliences.shape[1], 1, device=saliences.device)
    weights = (saliences[:, first] - saliences[:, second]).double()
    agrees = torch.where(effects[:, first] >= effects[:, second], 1.0, -1.0).double()
    total = weights.sum(1)
    there = (total > 0) & (effects != effects[:, :1]).any(1)
    return torch.where(there, (weights * agrees).sum(1) / total, torch.nan).float()
