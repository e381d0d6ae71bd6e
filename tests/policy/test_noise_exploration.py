import pytest
import torch

from fex.policy import Antithetic, Independent, LeaveOneOut, OnPolicy, RandomBudget, TwoSidedBudget, ValueBaseline
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
