"""Each rule against its formula, term by term, and its conservation."""

import pytest
import torch

from fex.baselines.attention_maps.rules import (
    STABILISER,
    add_rule,
    linear_rule,
    mean_rule,
    product_rule,
    safe_divide,
    stable_divide,
)


def test_linear_rule_shares_what_raises_the_output():
    inputs, weight = torch.randn(2, 5), torch.randn(3, 5)
    relevance = torch.rand(2, 3)
    expected = torch.zeros(2, 5)
    for b in range(2):
        for o in range(3):
            raising = [max(0.0, float(inputs[b, i] * weight[o, i])) for i in range(5)]
            for i in range(5):
                expected[b, i] += raising[i] / sum(raising) * relevance[b, o]
    found = linear_rule(relevance, inputs, weight)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(found.sum(1), relevance.sum(1))


def test_product_rule_gives_each_term_to_both_factors():
    left, right = torch.rand(1, 2, 3), torch.rand(1, 3, 2)
    relevance = torch.randn(1, 2, 2)
    first, second = torch.zeros(1, 2, 3), torch.zeros(1, 3, 2)
    for n in range(2):
        for m in range(2):
            total = sum(float(left[0, n, k] * right[0, k, m]) for k in range(3))
            for k in range(3):
                share = float(left[0, n, k] * right[0, k, m]) / total * float(relevance[0, n, m]) / 2
                first[0, n, k] += share
                second[0, k, m] += share
    found = product_rule(relevance, left, right)
    torch.testing.assert_close(found[0], first)
    torch.testing.assert_close(found[1], second)


def test_add_rule_is_proportional_where_nothing_cancels():
    left, right, relevance = torch.rand(2, 4) + 0.1, torch.rand(2, 4) + 0.1, torch.rand(2, 4)
    first, second = add_rule(relevance, left, right)
    torch.testing.assert_close(first, relevance * left / (left + right))
    torch.testing.assert_close(second, relevance * right / (left + right))


def test_add_rule_conserves_where_signals_cancel():
    left = torch.tensor([[1.0, 2.0], [3.0, -1.0]])
    right = torch.tensor([[-0.999, 1.0], [-3.0, 0.5]])
    relevance = torch.tensor([[1.0, 2.0], [-0.5, 0.7]])
    first, second = add_rule(relevance, left, right)
    torch.testing.assert_close((first + second).sum(1), relevance.sum(1))
    # Plain proportions are (1000, -999) and (4/3, 2/3): stabilised and normalised, neither is more than the total.
    assert first[0].sum().abs() <= 3
    assert second[0].sum().abs() <= 3
    stable = 0.001 / (STABILISER * 1.999) ** 2
    torch.testing.assert_close(
        first[0] / first[0].sum(), torch.tensor([stable, 4 / 3]) / (stable + 4 / 3), atol=1e-3, rtol=0
    )


def test_add_rule_keeps_instances_apart():
    left, right, relevance = torch.randn(3, 4), torch.randn(3, 4), torch.randn(3, 4)
    together = add_rule(relevance, left, right)
    alone = [add_rule(relevance[b : b + 1], left[b : b + 1], right[b : b + 1]) for b in range(3)]
    for side in (0, 1):
        torch.testing.assert_close(together[side], torch.cat([pair[side] for pair in alone]))


def test_mean_rule_conserves():
    tokens, relevance = torch.randn(2, 5, 3), torch.rand(2, 3)
    found = mean_rule(relevance, tokens)
    torch.testing.assert_close(found.sum(1), relevance, atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(found[0, 1, 2], tokens[0, 1, 2] / tokens[0, :, 2].sum() * relevance[0, 2])


@pytest.mark.parametrize("denominator", [0.0, 1e-12, -1e-12])
def test_nothing_is_divided_by_zero(denominator):
    assert safe_divide(torch.tensor(1.0), torch.tensor(denominator)) == 0


def test_sums_that_cancel_are_divided_by_continuously():
    """1 / total from epsilon on, a line through 0 below it."""
    size = torch.tensor(4.0, dtype=torch.float64)
    least = STABILISER * 4
    total = torch.linspace(-3 * least, 3 * least, 20_001, dtype=torch.float64)
    found = stable_divide(torch.ones_like(total), total, size.expand_as(total))
    far = total.abs() >= least
    torch.testing.assert_close(found[far], 1 / total[far])
    torch.testing.assert_close(found[~far], total[~far] / least**2)
    assert found.diff().abs().max() < 1e-2 * found.max()
    assert found.abs().max() <= (1 + 1e-9) / least
    assert stable_divide(torch.ones(1), torch.zeros(1), torch.zeros(1)) == 0
