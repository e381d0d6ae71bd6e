"""The loss has its minimum at the Shapley values, and sampled masks estimate it and its gradient without bias."""

from math import comb

import pytest
import torch

from fex.policy import Antithetic, Independent
from fex.shapley import additive_efficiency, centred, coalitions, shapley_loss
from tests.shapley.exact import exact_shapley
from tests.toys import all_masks

N, C = 5, 3


@pytest.fixture
def table():
    return torch.rand(C, 2**N, generator=torch.Generator().manual_seed(3))


def kernel():
    """Probability of each mask of `all_masks(N)`; the empty and the full one have none."""
    sizes = all_masks(N).sum(1).long().tolist()
    weights = torch.tensor([0.0 if k in (0, N) else 1 / (comb(N, k) * k * (N - k)) for k in sizes])
    return weights / weights.sum()


def loss(values, masks, table):
    """Loss of each row for values (B, N, C) and masks (B, K, N)."""
    scores = table.T[(masks.long() << torch.arange(N)).sum(-1)]
    coefficients, share = centred(masks)
    ends = table[:, -1].expand(len(masks), C), table[:, 0].expand(len(masks), C)
    return shapley_loss(coefficients @ values, share, scores, *ends)


def expectation(values, table):
    each = torch.stack([loss(values[None], mask.view(1, 1, N), table)[0] for mask in all_masks(N)])
    return (kernel() * each).sum()


def test_the_loss_is_the_squared_error_of_normalised_values(table):
    values, masks = torch.randn(2, N, C), (torch.rand(2, 4, N) < 0.5).float()
    efficient = additive_efficiency(values.transpose(1, 2), (table[:, -1] - table[:, 0]).expand(2, C))  # (2, C, N)
    expected = []
    for row in range(2):
        errors = []
        for mask in masks[row]:
            number = int((mask.long() << torch.arange(N)).sum())
            errors.append((table[:, number] - table[:, 0] - efficient[row] @ mask).square().sum())
        expected.append(torch.stack(errors).mean())
    torch.testing.assert_close(loss(values, masks, table), torch.stack(expected))


def test_its_minimum_is_the_shapley_values(table):
    truth = exact_shapley(table).T.clone().requires_grad_()  # (N, C)
    best = expectation(truth, table)
    (gradient,) = torch.autograd.grad(best, truth)
    assert gradient.abs().max() < 1e-6
    for _ in range(5):
        move = 0.1 * torch.randn(N, C)
        assert expectation(truth + move - move.mean(0), table) > best + 1e-4


@pytest.mark.parametrize("noise", [Independent(), Antithetic()])
def test_sampled_loss_and_gradient_are_unbiased(table, noise):
    draws, values = 20_000, torch.randn(N, C)
    masks = coalitions(*noise((draws, 4, N), torch.Generator().manual_seed(1)))
    rows = values.expand(draws, N, C).clone().requires_grad_()
    each = loss(rows, masks, table)
    (gradients,) = torch.autograd.grad(each.sum(), rows)
    leaf = values.clone().requires_grad_()
    exact = expectation(leaf, table)
    (exact_gradient,) = torch.autograd.grad(exact, leaf)
    for sample, truth in ((each.detach(), exact.detach()), (gradients.flatten(1), exact_gradient.flatten())):
        deviation = (sample.mean(0) - truth).abs() / (sample.std(0) / draws**0.5).clamp_min(1e-9)
        assert deviation.max() < 4
