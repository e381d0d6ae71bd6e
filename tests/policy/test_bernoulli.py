import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fex.policy import bernoulli


def every_mask(count: int) -> torch.Tensor:
    return torch.tensor(list(itertools.product([0.0, 1.0], repeat=count)))


def test_probabilities_of_all_masks_sum_to_one():
    logits = torch.tensor([0.3, -1.2, 4.0, 0.0, -7.0])
    total = bernoulli.log_prob(logits.expand(32, -1), every_mask(5)).sum(-1).exp().sum()
    assert total.item() == pytest.approx(1, abs=1e-6)


def test_log_prob_stays_finite_where_probabilities_saturate():
    logits = torch.tensor([60.0, -60.0], requires_grad=True)
    value = bernoulli.log_prob(logits, torch.tensor([0.0, 1.0]))
    value.sum().backward()
    assert value.tolist() == pytest.approx([-60, -60])
    assert logits.grad.tolist() == pytest.approx([-1, 1])


def test_relative_entropy_to_a_fair_coin_is_what_entropy_lacks():
    logits = torch.tensor([0.3, -1.2, 2.0, 9.0])
    joint = bernoulli.log_prob(logits.expand(16, -1), every_mask(4)).sum(-1)
    entropy = -(joint.exp() * joint).sum().item()
    found = bernoulli.relative_entropy(logits, torch.zeros(1)).item()
    assert found == pytest.approx(4 * math.log(2) - entropy, abs=1e-5)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-8, 8), min_size=1, max_size=6), st.floats(-4, 4))
def test_relative_entropy_is_never_negative_and_zero_only_at_the_reference(values, offset):
    logits = torch.tensor(values, dtype=torch.float64)
    reference = torch.tensor([offset], dtype=torch.float64)
    assert bernoulli.relative_entropy(logits, reference) >= -1e-12
    same = bernoulli.relative_entropy(reference.expand(len(values)), reference)
    assert same.abs() < 1e-12


def test_sample_keeps_at_the_given_rate():
    logits = torch.tensor([-2.0, 0.0, 1.0])
    uniform = torch.rand(200_000, 3, generator=torch.Generator().manual_seed(0))
    rate = bernoulli.sample(logits.expand(200_000, -1), uniform).mean(0)
    error = (rate - logits.sigmoid()).abs() / (logits.sigmoid() * (1 - logits.sigmoid()) / 200_000).sqrt()
    assert error.max() < 4


def test_approximate_kl_estimates_the_true_one_without_bias():
    old, new = torch.tensor([0.5, -1.0]), torch.tensor([0.2, -0.4])
    masks = every_mask(2)
    log_old = bernoulli.log_prob(old.expand(4, -1), masks).sum(-1)
    log_new = bernoulli.log_prob(new.expand(4, -1), masks).sum(-1)
    exact = (log_old.exp() * (log_old - log_new)).sum()
    estimate = (log_old.exp() * bernoulli.approximate_kl(log_new - log_old)).sum()
    assert estimate.item() == pytest.approx(exact.item(), abs=1e-7)
