import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fex.policy import (
    explained_variance,
    kl_black_box_to_explainer,
    kl_explainer_to_black_box,
    label_kl_black_box_to_explainer,
    label_kl_explainer_to_black_box,
    value_loss,
)

DIVERGENCES = [kl_black_box_to_explainer, kl_explainer_to_black_box]
OF_LABELS = {label_kl_black_box_to_explainer: True, label_kl_explainer_to_black_box: False}


@pytest.mark.parametrize("divergence", DIVERGENCES)
def test_zero_when_the_softmax_of_the_mean_log_rates_is_f(divergence):
    f = torch.tensor([[0.7, 0.2, 0.1]])
    assert divergence(f.log() - 3.0, f).item() == pytest.approx(0, abs=1e-6)


def test_directions_differ_and_match_their_definitions():
    f, q = torch.tensor([[0.9, 0.1]]), torch.tensor([[0.5, 0.5]])
    forward = 0.9 * torch.tensor(0.9 / 0.5).log() + 0.1 * torch.tensor(0.1 / 0.5).log()
    backward = 0.5 * torch.tensor(0.5 / 0.9).log() + 0.5 * torch.tensor(0.5 / 0.1).log()
    assert kl_black_box_to_explainer(q.log(), f).item() == pytest.approx(forward.item(), abs=1e-6)
    assert kl_explainer_to_black_box(q.log(), f).item() == pytest.approx(backward.item(), abs=1e-6)


@pytest.mark.parametrize("divergence", DIVERGENCES)
@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-6, 6), min_size=3, max_size=3), st.lists(st.floats(-6, 6), min_size=3, max_size=3))
def test_never_negative(divergence, rates, scores):
    f = torch.tensor([scores], dtype=torch.float64).softmax(1)
    assert divergence(torch.tensor([rates], dtype=torch.float64), f).item() >= -1e-9


@pytest.mark.parametrize("divergence", OF_LABELS)
def test_of_labels_it_is_the_sum_over_two_sided_coins(divergence):
    logits, f = torch.tensor([[1.5, -2.0, 0.0]]), torch.tensor([[0.95, 0.9, 0.05]])
    p, q = (torch.distributions.Bernoulli(probs=each) for each in (f, logits.sigmoid()))
    pair = (p, q) if OF_LABELS[divergence] else (q, p)
    expected = torch.distributions.kl_divergence(*pair).sum(1)
    torch.testing.assert_close(divergence(logits, f), expected)
    assert divergence(torch.logit(f), f).item() == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("divergence", OF_LABELS)
def test_labels_that_are_certain_give_finite_losses_and_gradients(divergence):
    logits = torch.tensor([[40.0, -40.0, 3.0, -3.0]], requires_grad=True)
    loss = divergence(logits, torch.tensor([[0.0, 1.0, 1.0, 1.0005]]))
    loss.sum().backward()
    assert torch.isfinite(loss).all()
    assert torch.isfinite(logits.grad).all()


def test_a_class_of_probability_zero_gives_a_finite_loss():
    f = torch.tensor([[1.0, 0.0]])
    rates = torch.tensor([[-1.0, -2.0]], requires_grad=True)
    loss = kl_black_box_to_explainer(rates, f) + kl_explainer_to_black_box(rates, f)
    loss.sum().backward()
    assert torch.isfinite(loss).all()
    assert torch.isfinite(rates.grad).all()


def test_value_loss_is_the_mean_square_over_masks():
    values, rewards = torch.tensor([[1.0, 2.0]]), torch.tensor([[0.0, 4.0]])
    assert value_loss(values, rewards).tolist() == [2.5]


def test_explained_variance_is_one_for_perfect_zero_for_constant():
    rewards = torch.tensor([[0.0, 1.0, 2.0]])
    assert explained_variance(rewards, rewards).item() == pytest.approx(1)
    assert explained_variance(torch.full((1, 3), 0.4), rewards).item() == pytest.approx(0, abs=1e-6)
