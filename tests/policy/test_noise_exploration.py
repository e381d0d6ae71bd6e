import itertools

import pytest
import torch

from fex.policy import (
    Antithetic,
    EpsilonGreedy,
    Independent,
    LeaveOneOut,
    OnPolicy,
    RandomBudget,
    TwoSidedBudget,
    ValueBaseline,
    bernoulli,
)
from fex.seeding import RowDraws


@pytest.mark.parametrize("noise", [Independent(), Antithetic()])
@pytest.mark.parametrize("count", [1, 4, 5])
@pytest.mark.parametrize("source", [lambda: torch.Generator().manual_seed(3), lambda: RowDraws(3, 0)])
def test_noise_is_uniform_and_repeats_with_the_seed(noise, count, source):
    draws = [noise((500, count, 20), source()) for _ in range(2)]
    masks, budgets = draws[0]
    assert masks.shape == (500, count, 20)
    assert budgets.shape == (500, count)
    assert torch.equal(masks, draws[1][0])
    assert torch.equal(budgets, draws[1][1])
    assert masks.min() >= 0
    assert masks.max() < 1
    assert abs(masks.mean() - 0.5) < 4 * (1 / 12 / (500 * 20)) ** 0.5


@pytest.mark.parametrize("noise", [Independent(), Antithetic()])
def test_a_process_draws_its_rows_alone(noise):
    whole = noise((6, 5, 7), RowDraws(3, 9))
    part = noise((2, 5, 7), RowDraws(3, 9, first=4))
    assert all(torch.equal(own, every[4:]) for own, every in zip(part, whole, strict=True))


def test_antithetic_masks_are_complements_at_a_uniform_policy():
    masks, budgets = Antithetic()((3, 5, 50), torch.Generator().manual_seed(0))
    kept = (masks < 0.5).float()
    assert torch.equal(kept[:, 0], 1 - kept[:, 1])
    assert torch.equal(kept[:, 2], 1 - kept[:, 3])
    assert torch.allclose(budgets[:, 0] + budgets[:, 1], torch.ones(3))
    assert not torch.equal(kept[:, 4], 1 - kept[:, 3])


def test_random_budget_moves_every_feature_by_one_offset_and_ignores_the_mean():
    exploration = RandomBudget(-2, 4)
    logits = torch.tensor([[1.0, 3.0, 8.0]])
    centred = exploration.centre(logits)
    assert centred.mean().item() == pytest.approx(0, abs=1e-6)
    assert torch.allclose(exploration.centre(logits + 7), centred)
    sampling = exploration(centred, torch.tensor([[0.0, 0.5]]))
    assert torch.allclose(sampling[0, 0], centred[0] - 2)
    assert torch.allclose(sampling[0, 1], centred[0] + 1)


def test_on_policy_samples_from_the_logits_themselves():
    logits = torch.tensor([[1.0, 3.0]])
    exploration = OnPolicy()
    assert torch.equal(exploration(exploration.centre(logits), torch.rand(1, 3)), logits.expand(1, 3, 2))


def test_random_budget_refuses_an_empty_range():
    with pytest.raises(ValueError, match="low <= high"):
        RandomBudget(1, 0)


def test_leave_one_out_is_the_mean_of_the_others():
    rewards = torch.tensor([[1.0, 2.0, 6.0]])
    assert LeaveOneOut()(rewards, rewards).tolist() == [[4.0, 3.5, 1.5]]
    assert ValueBaseline()(rewards, rewards * 2).tolist() == [[2.0, 4.0, 12.0]]
    with pytest.raises(ValueError, match="at least two masks"):
        LeaveOneOut()(rewards[:, :1], rewards)


def test_two_sided_pairs_are_exact_complements_under_any_policy():
    noise, budget = Antithetic()((4, 6, 30), torch.Generator().manual_seed(1))
    exploration = TwoSidedBudget(-3, 3)
    centred = exploration.centre(torch.randn(4, 30, generator=torch.Generator().manual_seed(2)))
    sampling = exploration(centred, budget)
    kept = (noise < sampling.sigmoid()).float()
    side = exploration.side(budget)
    assert torch.equal(side[:, 0::2], -side[:, 1::2])
    assert (kept[:, 0::2] + kept[:, 1::2] - 1).abs().mean() < 1e-3  # but for rounding of u against the rate


def test_two_sided_masks_keep_or_remove_what_has_large_logits():
    exploration = TwoSidedBudget(0, 0)
    centred = torch.tensor([[-2.0, 2.0]])
    sampling = exploration(centred, torch.tensor([[0.2, 0.7]]))
    assert torch.equal(sampling[0, 0], centred[0])
    assert torch.equal(sampling[0, 1], -centred[0])


@pytest.mark.parametrize("epsilon", [0.0, 0.05, 0.9])
@pytest.mark.parametrize("count", [1, 4])
def test_epsilon_greedy_has_the_probabilities_of_coins_thrown_for_some_decisions(epsilon, count):
    """All 2^N masks, each by all 2^N choices of the decisions that are left to coins."""
    logits = torch.tensor([0.4, -2.0, 3.0, 0.0], dtype=torch.float64)[:count]
    exploration = EpsilonGreedy(epsilon)
    sampling = exploration(exploration.centre(logits[None]), torch.zeros(1, 1))[0, 0]
    masks, total = torch.tensor(list(itertools.product([0.0, 1.0], repeat=count)), dtype=torch.float64), 0.0
    for mask in masks:
        own = torch.where(mask == 1, logits.sigmoid(), 1 - logits.sigmoid())
        expected = sum(
            torch.where(coins == 1, epsilon / 2, (1 - epsilon) * own).prod() for coins in masks.to(torch.int64)
        )
        found = bernoulli.log_prob(sampling, mask).sum().exp()
        assert found.item() == pytest.approx(expected.item(), rel=1e-6)
        total += found.item()
    assert total == pytest.approx(1)


def test_epsilon_greedy_gives_up_no_feature_and_keeps_finite_gradients():
    exploration = EpsilonGreedy(0.1)
    logits = torch.tensor([[-200.0, 0.0, 200.0]], requires_grad=True)
    sampling = exploration(exploration.centre(logits), torch.zeros(1, 2))
    assert torch.allclose(sampling.sigmoid()[0, 0], torch.tensor([0.05, 0.5, 0.95]), atol=1e-6)
    sampling.sum().backward()
    assert torch.isfinite(logits.grad).all()
    assert logits.grad[0, 1] == pytest.approx(2 * 0.9)  # by the chain rule: (1 - epsilon) at g = 1 / 2, of two masks
    valid = torch.tensor([[True, True, False]])
    assert torch.equal(exploration(exploration.centre(logits, valid), torch.zeros(1, 1))[0, 0, 2], torch.tensor(0.0))


@pytest.mark.parametrize("epsilon", [-0.1, 1.0, float("nan")])
def test_epsilon_greedy_refuses_what_is_no_share(epsilon):
    with pytest.raises(ValueError, match=r"an epsilon in \[0, 1\), got"):
        EpsilonGreedy(epsilon)
