"""The sampled estimator against enumeration of all 2^N masks."""

import pytest
import torch

from fex.policy import (
    Antithetic,
    BlankCorrectedRatio,
    CompatibleControl,
    EpsilonGreedy,
    Independent,
    LeaveOneOut,
    NoControl,
    OnPolicy,
    PaperRatio,
    RandomBudget,
    Retained,
    TwoSidedBudget,
    ValueBaseline,
    bernoulli,
    kl_black_box_to_explainer,
)
from tests.lightning_modules.tiny import every_mask, make_module, white

N, TEMPERATURE = 5, 0.15
LOGITS = torch.tensor([0.4, -1.0, 1.5, 0.0, -0.3])


@pytest.fixture
def table():
    return torch.rand(2**N, generator=torch.Generator().manual_seed(7)) * 0.6 + 0.2


def exact_objective(logits, table, reward, exploration, points=400):
    """E[c] - temperature * relative entropy, by enumeration of masks and a midpoint rule over budgets."""
    masks = every_mask(N)
    rewards = reward(table.unsqueeze(0), masks.unsqueeze(0), table[:1])[0]
    count = points if isinstance(exploration, RandomBudget) else 1
    noise = ((torch.arange(count) + 0.5) / count).view(1, -1)
    centred = exploration.centre(logits.unsqueeze(0))
    sampling = exploration(centred, noise)[0]  # (points, N)
    probability = (
        bernoulli.log_prob(sampling.unsqueeze(1).expand(-1, len(masks), -1), masks.expand(count, -1, -1)).sum(-1).exp()
    )  # (points, 2^N)
    price = bernoulli.relative_entropy(sampling, exploration.reference(noise)[0])
    expected = (probability * rewards).sum(1)
    return (exploration.side(noise)[0] * expected - TEMPERATURE * price).mean(), expected.mean()


CASES = [
    (PaperRatio(), Independent(), OnPolicy(), ValueBaseline(), NoControl(), "joint"),
    (BlankCorrectedRatio(), Independent(), OnPolicy(), LeaveOneOut(), NoControl(), "per_feature"),
    (Retained(), Antithetic(), RandomBudget(-2, 2), ValueBaseline(), NoControl(), "joint"),
    (Retained(), Antithetic(), RandomBudget(-2, 2), ValueBaseline(), CompatibleControl(), "joint"),
    (Retained(), Antithetic(), TwoSidedBudget(-2, 2), ValueBaseline(), CompatibleControl(), "joint"),
    (Retained(), Independent(), TwoSidedBudget(-1, 3), ValueBaseline(), NoControl(), "per_feature"),
    (Retained(), Independent(), OnPolicy(), LeaveOneOut(), CompatibleControl(), "per_feature"),
    (PaperRatio(), Independent(), EpsilonGreedy(0.3), LeaveOneOut(), NoControl(), "joint"),
    (Retained(), Independent(), EpsilonGreedy(0.3), LeaveOneOut(), CompatibleControl(), "per_feature"),
]


@pytest.mark.parametrize(("reward", "noise", "exploration", "baseline", "control", "surrogate"), CASES)
def test_sampled_gradient_and_reward_match_the_enumerated_ones(
    table, reward, noise, exploration, baseline, control, surrogate
):
    batch = 6000
    module = make_module(
        table,
        reward=reward,
        num_masks=4,
        noise=noise,
        exploration=exploration,
        baseline=baseline,
        control=control,
        surrogate=surrogate,
        entropy_weight=TEMPERATURE,
        value_weight=0.0,
        kl_weight=0.0,
        seed=3,
    )
    exact_logits = LOGITS.clone().requires_grad_()
    objective, expected_reward = exact_objective(exact_logits, table, reward, exploration)
    (exact,) = torch.autograd.grad(objective, exact_logits)

    inputs, target = white(module, batch), torch.zeros(batch, dtype=torch.int64)
    logits = LOGITS.expand(batch, -1).clone().requires_grad_()
    rollout = module._rollout(inputs, target, logits.detach())
    output = (module.explainer.encode(inputs), logits)
    clean = module.black_box(inputs)
    loss, _ = module._loss(output, rollout, clean, target, torch.full((batch,), 1 / batch))
    (gradient,) = torch.autograd.grad(loss, logits)
    each = -gradient * batch  # one estimate an instance

    error = (each.mean(0) - exact).abs() / (each.std(0) / batch**0.5)
    assert error.max() < 4
    assert exact.abs().max() > 4 * (each.std(0) / batch**0.5).max()  # the test can tell it from zero
    rewards = rollout.rewards.mean(1)
    assert abs(rewards.mean() - expected_reward) < 4 * rewards.std() / batch**0.5


def test_compatible_control_has_the_least_squares_gradient_and_less_variance():
    """Where the logits are the effects over the temperature, only the residual of the regression is left."""
    centred = LOGITS - LOGITS.mean()
    table = 0.5 + ((every_mask(N) - 0.5) * centred * TEMPERATURE).sum(1)
    spreads = []
    for control in (NoControl(), CompatibleControl()):
        module = make_module(
            table, reward=Retained(), num_masks=4, exploration=RandomBudget(-2, 2), baseline=ValueBaseline(),
            control=control, entropy_weight=TEMPERATURE, value_weight=0.0, kl_weight=0.0,
        )  # fmt: skip
        batch = 2000
        inputs, target = white(module, batch), torch.zeros(batch, dtype=torch.int64)
        torch.nn.init.constant_(module.explainer.value_out.bias, 0.5)  # a value net that has learnt the mean
        logits = centred.expand(batch, -1).clone().requires_grad_()
        rollout = module._rollout(inputs, target, logits.detach())
        output = (module.explainer.encode(inputs), logits)
        loss, _ = module._loss(output, rollout, module.black_box(inputs), target, torch.full((batch,), 1 / batch))
        (gradient,) = torch.autograd.grad(loss, logits)
        if isinstance(control, CompatibleControl):
            rates = (centred + module.exploration.reference(rollout.budget)).sigmoid()
            deviation = rollout.masks - rates
            values = module.explainer.value(output[0].trunk, target, rollout.kept)
            reference = module.exploration.reference(rollout.budget).sigmoid()
            predicted = values + TEMPERATURE * ((rollout.masks - reference) * centred).sum(-1)
            residual = rollout.rewards - predicted
            expected = -(residual.unsqueeze(-1) * deviation).mean(1)
            expected = expected - expected.mean(1, keepdim=True)  # the centring's gradient
            assert torch.allclose(gradient * batch, expected, atol=1e-4)
        spreads.append(gradient.std(0).mean())
    assert spreads[1] < 0.8 * spreads[0]


def test_ppo_on_one_instance_reaches_the_optimum_of_equation_10(table):
    """E[c] is linear in each lambda, so its optimum over the policy is the best single mask."""
    module = make_module(
        table, reward=BlankCorrectedRatio(), num_masks=64, baseline=LeaveOneOut(), inner_epochs=2,
        surrogate="per_feature", entropy_weight=0.0, kl_weight=0.0,
    )  # fmt: skip
    optimizer = torch.optim.Adam(module.explainer.parameters(), lr=0.03)
    inputs, target = white(module, 1), torch.zeros(1, dtype=torch.int64)
    for step in range(250):
        module.seed = step
        logits = module._encode(inputs, target)[1].detach()
        rollout = module._rollout(inputs, target, logits)
        for _ in range(module.updates.epochs):
            loss, _ = module._loss(
                module._encode(inputs, target), rollout, module.black_box(inputs), target, torch.ones(1)
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    masks = every_mask(N)
    rewards = BlankCorrectedRatio()(table.unsqueeze(0), masks.unsqueeze(0), table[:1])[0]
    found = module._encode(inputs, target)[1].detach()[0]
    probability = bernoulli.log_prob(found.expand(len(masks), -1), masks).sum(-1).exp()
    assert (probability * rewards).sum() > 0.95 * rewards.max()
    assert torch.equal(found.gt(0).float(), masks[rewards.argmax()])


def test_class_term_reaches_the_black_box(table):
    """Minimising eq. 24 alone makes softmax(mean log g) the black box's probabilities."""
    module = make_module(table, entropy_weight=0.0)
    inputs = white(module, 1)
    clean = module.black_box(inputs)
    optimizer = torch.optim.Adam(module.explainer.parameters(), lr=0.05)
    for _ in range(150):
        encoded = module.explainer.encode(inputs)
        loss = kl_black_box_to_explainer(module.explainer.class_log_rates(encoded), clean).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert torch.allclose(module.explainer(inputs)[1].softmax(1), clean, atol=1e-2)


def test_leave_one_out_of_antithetic_pairs_is_refused(table):
    with pytest.raises(ValueError, match="biases the gradient: use Independent noise"):
        make_module(table, noise=Antithetic(), baseline=LeaveOneOut())
