"""Shapley values by their definition, and an image of ten features on which they can be enumerated."""

from math import factorial

import torch
from torch import Tensor

from fex.black_box import BlackBox
from fex.masking import Masker, masked_probabilities
from tests.toys import all_masks

__all__ = ["exact_shapley", "values_of_all_masks"]


def exact_shapley(values: Tensor) -> Tensor:
    """sum over S without n of |S|! (N - |S| - 1)! / N! (v(S + n) - v(S)); v (..., 2^N) by `all_masks` -> (..., N)."""
    count = values.shape[-1].bit_length() - 1
    found = []
    for feature in range(count):
        without = [mask for mask in range(2**count) if not mask >> feature & 1]
        gains = values[..., [mask | 1 << feature for mask in without]] - values[..., without]
        sizes = [mask.bit_count() for mask in without]
        weights = [factorial(size) * factorial(count - size - 1) / factorial(count) for size in sizes]
        found.append((gains * torch.tensor(weights)).sum(-1))
    return torch.stack(found, -1)


def values_of_all_masks(black_box: BlackBox, masker: Masker, inputs: Tensor) -> Tensor:
    """f_y of every mask of every input, (B, C, 2^N)."""
    masks = all_masks(masker.features.num_features).expand(len(inputs), -1, -1)
    return masked_probabilities(black_box, masker, inputs, masks).transpose(1, 2)
