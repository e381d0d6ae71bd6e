"""Masks and counts of the protocols of texts; pure."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = [
    "agreement_counts",
    "macro_f1",
    "mean_macro_f1",
    "mean_set_f1",
    "rationale_counts",
    "share_masks",
    "top_masks",
]


def top_masks(ranks: Tensor, counts: Sequence[int]) -> Tensor:
    """Masks that keep the k most important features alone, for each k.

    Args:
        ranks: (B, N), int64, 0 = most important.
        counts: S numbers of features.

    Returns:
        Bool (B, S, N), True = kept.
    """
    return ranks[:, None, :] < torch.tensor(list(counts), device=ranks.device)[:, None]


def share_masks(ranks: Tensor, count: Tensor, shares: Sequence[float]) -> Tensor:
    """Masks that keep the most important share of each instance's features, rounded up, at least one.

    Args:
        ranks: (B, N), int64.
        count: features of each instance (B,).
        shares: S shares in (0, 1].

    Returns:
        Bool (B, S, N), True = kept.
    """
    if not shares or min(shares) <= 0 or max(shares) > 1:
        raise ValueError(f"Got shares {tuple(shares)}, expected shares of features in (0, 1].")
    wanted = torch.tensor(list(shares), dtype=torch.float64, device=ranks.device)
    # A product such as 0.1 * 30 may lie just above a whole number.
    most = (count[:, None] * wanted - 1e-9).ceil().clamp_min(1)
    return ranks[:, None, :] < most[:, :, None]


def agreement_counts(predicted: Tensor, clean: Tensor, num_classes: int) -> Tensor:
    """What F1 of each class needs: hits, predictions and clean predictions, at each step.

    Args:
        predicted: classes (B, S), int64.
        clean: classes (B,), int64.
        num_classes: C.

    Returns:
        0 or 1, float32 (B, S * 3 * C).
    """
    found = F.one_hot(predicted, num_classes).float()
    true = F.one_hot(clean, num_classes).float().unsqueeze(1).expand_as(found)
    return torch.stack([found * true, found, true], 2).flatten(1)


def macro_f1(means: Tensor, steps: int) -> Tensor:
    """Means of `agreement_counts` (..., S * 3 * C) -> F1, mean over the classes that occur, at each step (..., S)."""
    hits, found, true = means.unflatten(-1, (steps, 3, -1)).unbind(-2)
    each = 2 * hits / (found + true).clamp_min(torch.finfo(means.dtype).tiny)
    occurs = true > 0
    return (each * occurs).sum(-1) / occurs.sum(-1).clamp_min(1)


def mean_macro_f1(means: Tensor, steps: int) -> Tensor:
    """Mean of `macro_f1` over the steps, (...)."""
    return macro_f1(means, steps).mean(-1)


def rationale_counts(ranks: Tensor, words: Tensor, marked: Tensor, counts: Sequence[int]) -> Tensor:
    """How many of the k first words a human marked.

    Words come in the order of their first token in the ranking.

    Args:
        ranks: of tokens (B, N), int64, 0 = most important.
        words: number of each token's word (B, N), int64; -1 where there is none.
        marked: tokens of marked words (B, N), bool.
        counts: S numbers of words k.

    Returns:
        Hits, words chosen and words marked at each step, float32 (B, S * 3); NaN where nothing is marked.
    """
    rows = []
    wanted = torch.tensor(list(counts))
    for rank, word, mark in zip(ranks.cpu(), words.cpu(), marked.cpu(), strict=True):
        own = word >= 0
        names, numbers = word[own].unique(return_inverse=True)
        best = torch.full((len(names),), rank.numel()).scatter_reduce(0, numbers, rank[own], "amin")
        human = torch.zeros(len(names)).scatter_reduce(0, numbers, mark[own].float(), "amax")
        hits = torch.cat([torch.zeros(1), human[best.argsort()].cumsum(0)])
        chosen = wanted.clamp_max(len(names))
        row = torch.stack([hits[chosen], chosen.float(), human.sum().expand(len(wanted))], 1).flatten()
        rows.append(row if human.any() else torch.full_like(row, torch.nan))
    return torch.stack(rows).to(ranks.device)


def mean_set_f1(means: Tensor, steps: int) -> Tensor:
    """Means of `rationale_counts` (..., S * 3) -> F1 of the sums, mean over steps, (...)."""
    hits, chosen, marked = means.unflatten(-1, (steps, 3)).unbind(-1)
    return (2 * hits / (chosen + marked)).mean(-1)
