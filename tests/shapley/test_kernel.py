from math import comb

import pytest
import torch

from fex.policy import Antithetic
from fex.shapley import additive_efficiency, centred, coalitions, size_probabilities
from tests.toys import all_masks


@pytest.mark.parametrize("count", [2, 3, 7, 10])
def test_sizes_follow_the_shapley_kernel(count):
    kernel = [(count - 1) / (comb(count, k) * k * (count - k)) for k in range(1, count)]
    expected = torch.tensor([comb(count, k) * weight for k, weight in enumerate(kernel, 1)], dtype=torch.float64)
    torch.testing.assert_close(size_probabilities(count), expected / expected.sum())


def test_each_mask_is_drawn_as_often_as_the_kernel_says():
    draws, count = 40_000, 4
    masks = coalitions(torch.rand(draws, count), torch.rand(draws))
    numbers = (masks.long() << torch.arange(count)).sum(1)
    found = torch.bincount(numbers, minlength=16) / draws
    sizes = all_masks(count).sum(1).long()
    for number, size in enumerate(sizes.tolist()):
        expected = 0.0 if size in (0, count) else float(size_probabilities(count)[size - 1]) / comb(count, size)
        assert abs(float(found[number]) - expected) <= 4 * (expected * (1 - expected) / draws) ** 0.5


@pytest.mark.parametrize("count", [2, 3, 64])
def test_antithetic_noise_gives_complements(count):
    order, size = Antithetic()((50, 6, count), torch.Generator().manual_seed(0))
    masks = coalitions(order, size)
    assert torch.equal(masks[:, 0::2] + masks[:, 1::2], torch.ones(50, 3, count))
    assert {float(value) for value in masks.unique()} == {0.0, 1.0}


def test_centred_masks_leave_the_level_out():
    masks, level = (torch.rand(3, 5, 7) < 0.4).float(), 3.7
    values = torch.randn(3, 7)
    coefficients, share = centred(masks)
    torch.testing.assert_close(share, masks.sum(-1) / 7)
    sums = [torch.einsum("bkn,bn->bk", coefficients, v) for v in (values, values + level)]
    torch.testing.assert_close(*sums)


def test_efficiency_is_the_nearest_point_that_sums_to_the_total():
    values, total = torch.randn(4, 6), torch.randn(4)
    found = additive_efficiency(values, total)
    torch.testing.assert_close(found.sum(1), total)
    move = found - values
    torch.testing.assert_close(move, move.mean(1, keepdim=True).expand_as(move))  # along the constraint's normal


def test_one_feature_has_no_coalitions():
    with pytest.raises(ValueError, match="at least 2 features, got 1"):
        coalitions(torch.rand(3, 1), torch.rand(3))
