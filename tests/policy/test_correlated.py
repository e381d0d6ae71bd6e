"""Correlated noise: every decision keeps its own probability, neighbours go together, the regression stays exact."""

import pytest
import torch

from fex.policy import (
    Antithetic,
    CompatibleControl,
    Correlated,
    LeaveOneOut,
    RandomBudget,
    ReferenceBudget,
    Retained,
)
from tests.lightning_modules.test_fastshap import small
from tests.lightning_modules.tiny import every_mask, make_module, white

GRID = (3, 5)


def draws(noise, batch=40_000, count=2, grid=GRID, seed=0):
    return noise((batch, count, grid[0] * grid[1]), torch.Generator().manual_seed(seed), grid)


def test_each_number_is_uniform_whatever_its_place_and_length():
    noise, budget = draws(Correlated((0.0, 0.7, 3.0)))
    assert noise.dtype == budget.dtype == torch.float32
    assert noise.min() >= 0
    assert noise.max() < 1
    for level in (0.05, 0.5, 0.9):
        for mask in (0, 1):
            share = (noise[:, mask] < level).float().mean(0)
            assert (share - level).abs().max() < 4.5 * (level * (1 - level) / len(noise)) ** 0.5


@pytest.mark.parametrize("length", [0.0, 1.0, 2.0])
def test_neighbours_are_alike_as_the_length_says(length):
    grid = (9, 9)
    noise, _ = draws(Correlated((length,), antithetic=False), batch=8000, count=1, grid=grid)
    normal = torch.special.ndtri(noise.double().clamp(1e-7, 1 - 1e-7)).view(-1, *grid)
    middle = normal[:, 4, 4]
    for distance in (1, 2):
        found = torch.corrcoef(torch.stack([middle, normal[:, 4, 4 + distance]]))[0, 1]
        expected = 0.0 if length == 0 else torch.exp(torch.tensor(-(distance**2) / (4 * length**2)))
        assert found == pytest.approx(float(expected), abs=0.06)


@pytest.mark.parametrize("count", [1, 4, 5])
def test_pairs_are_complements_and_an_odd_last_mask_stands_alone(count):
    masks, budgets = draws(Correlated(), batch=50, count=count)
    assert masks.shape == (50, count, 15)
    for first in range(0, count - 1, 2):
        assert torch.allclose(masks[:, first] + masks[:, first + 1], torch.ones(50, 15))
        assert torch.allclose(budgets[:, first] + budgets[:, first + 1], torch.ones(50))
    alone = draws(Correlated(antithetic=False), batch=50, count=4)[0]
    assert (alone[:, 0] + alone[:, 1] - 1).abs().max() > 0.1


def test_texts_are_smoothed_along_their_tokens():
    noise = Correlated((1.5,))
    generator = torch.Generator().manual_seed(1)
    rows = noise((4000, 1, 12), generator)[0][:, 0]
    assert torch.corrcoef(rows.T)[5, 6] > 0.8


@pytest.mark.parametrize("lengths", [(), (-1.0,), (float("nan"),)])
def test_lengths_are_checked(lengths):
    with pytest.raises(ValueError, match="needs lengths >= 0"):
        Correlated(lengths)


def test_a_grid_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="grid of 2 x 3 for 5 features"):
        Correlated()((1, 2, 5), torch.Generator(), (2, 3))


def test_what_needs_independence_refuses_it():
    with pytest.raises(ValueError, match="LeaveOneOut wants independent masks"):
        make_module(torch.rand(8), noise=Correlated(), baseline=LeaveOneOut())
    make_module(torch.rand(8), noise=Correlated(antithetic=False), baseline=LeaveOneOut())
    with pytest.raises(ValueError, match="not those of the Shapley kernel"):
        small(noise=Correlated())


N, TEMPERATURE = 5, 0.15


def normal_equations(masks, rewards, budgets):
    """Least squares of rewards on [1, s, s^2, s^3, masks], s the kept share: the masks' part, less its mean."""
    share = masks.mean(1, keepdim=True)
    design = torch.cat([share**degree for degree in range(4)] + [masks[:, 1:] - masks[:, :1]], 1).double()
    found = torch.linalg.lstsq(design, rewards.double().unsqueeze(1)).solution[4:, 0]
    effects = torch.cat([-found.sum()[None], found])
    return (effects - effects.mean()).float()


def gradient_at(logits, value, table, noise, batch=20_000, exploration=None):
    """Mean gradient of the loss for the logits and its standard error, with the value net fixed to `value`."""
    module = make_module(
        table, reward=Retained(), num_masks=4, noise=noise, exploration=exploration or ReferenceBudget(-2, 2),
        control=CompatibleControl(), entropy_weight=TEMPERATURE, value_weight=0.0, kl_weight=0.0,
    )  # fmt: skip
    inputs, target = white(module, batch), torch.zeros(batch, dtype=torch.int64)
    moved = logits.expand(batch, -1).clone().requires_grad_()
    rollout = module._rollout(inputs, target, moved.detach())
    module.explainer.value = lambda trunk, target, kept: value(kept)
    output = (module.explainer.encode(inputs), moved)
    loss, _ = module._loss(output, rollout, module.black_box(inputs), target, torch.full((batch,), 1 / batch))
    (gradient,) = torch.autograd.grad(loss, moved)
    each = gradient * batch
    return each.mean(0), each.std(0) / batch**0.5, rollout


@pytest.mark.parametrize("noise", [Antithetic(), Correlated((0.0, 1.0, 2.0))], ids=["independent", "correlated"])
def test_the_fixed_point_of_a_linear_box_is_its_effects_over_the_temperature(noise):
    effects = torch.tensor([0.3, -0.1, 0.05, 0.2, 0.15])  # their mean is not 0
    table = 0.2 + every_mask(N) @ effects
    logits = (effects - effects.mean()) / TEMPERATURE
    gradient, _, _ = gradient_at(logits, lambda kept: 0.2 + effects.sum() * kept, table, noise)
    assert gradient.abs().max() < 1e-6  # each residual is 0, not their mean alone
    moved, error, _ = gradient_at(logits + torch.eye(N)[0], lambda kept: 0.2 + effects.sum() * kept, table, noise)
    assert moved[0] > 20 * error[0]


@pytest.mark.parametrize("noise", [Antithetic(), Correlated((0.5, 2.0))], ids=["independent", "correlated"])
def test_the_fixed_point_of_any_box_is_the_least_squares_fit_under_the_masks_drawn(noise):
    table = torch.rand(2**N, generator=torch.Generator().manual_seed(7)) * 0.6 + 0.2
    _, _, rollout = gradient_at(torch.zeros(N), torch.zeros_like, table, noise, batch=60_000)
    masks, rewards = rollout.masks.flatten(0, 1), rollout.rewards.flatten()
    fitted = normal_equations(masks, rewards, rollout.budget)
    share = masks.mean(1)
    powers = torch.stack([share**degree for degree in range(4)], 1)
    rest = rewards - masks @ fitted
    weights = torch.linalg.lstsq(powers.double(), rest.double().unsqueeze(1)).solution.float()[:, 0]

    def value(kept):
        return (torch.stack([kept**degree for degree in range(4)], -1) * weights).sum(-1)

    gradient, error, _ = gradient_at(fitted / TEMPERATURE, value, table, noise, batch=60_000)
    assert gradient.abs().max() < 1e-4
    away, error, _ = gradient_at(torch.zeros(N), value, table, noise)
    assert away.abs().max() > 10 * error.max()


def test_without_the_kept_share_neighbours_leak_the_mean_effect_into_the_map():
    """Why `ReferenceBudget` shows the value net what was really kept."""
    effects = torch.full((N,), 0.1)
    table = 0.2 + every_mask(N) @ effects

    def expected(kept):  # what a value net of the budget alone learns
        return 0.2 + effects.sum() * kept

    noise = Correlated((2.0,))
    leak, error, _ = gradient_at(torch.zeros(N), expected, table, noise, exploration=RandomBudget(-2, 2))
    none, _, _ = gradient_at(torch.zeros(N), expected, table, noise, exploration=ReferenceBudget(-2, 2))
    assert leak.abs().max() > 6 * error.max()
    assert none.abs().max() < 1e-6
