"""The table of past queries: what is read is what was written, and what is read from outside is checked."""

import pytest
import torch

from fex.policy import (
    CompatibleControl,
    Judge,
    NoControl,
    RandomBudget,
    ReferenceBudget,
    Replay,
    ReplayTable,
    Retained,
    TwoSidedBudget,
    ValueBaseline,
    bernoulli,
    clipped_surrogate_joint,
    policy_terms,
    trace,
)
from tests.lightning_modules.tiny import every_mask


def table(**options):
    return ReplayTable(6, 4, 10, options.pop("classes", 3), **options)


def visit(own, batch=2, count=2, features=10, classes=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.rand(*shape, generator=generator)  # noqa: E731
    masks, budget, scores = (draw(batch, count, features) < 0.5).float(), draw(batch, count), draw(batch, count, 1)
    clean = draw(batch, classes).softmax(1)
    told = {"clean": clean, "target": clean.argmax(1), "blank": draw(batch, 1), "traces": draw(batch, 4)}
    return own.packed(masks, budget, scores, draw(batch, features), **told), masks, budget, scores, clean


def test_what_is_read_is_what_was_written():
    own, keys = table(policies=True), torch.tensor([4, 1])
    rows, masks, budget, scores, clean = visit(own)
    own.put(keys, rows)
    found = own.past(keys, torch.tensor([[1, 0], [0, 1]]))
    order = torch.tensor([[1, 0], [0, 1]])
    assert torch.equal(found["masks"], masks[torch.arange(2)[:, None], order])
    assert torch.equal(found["budget"], budget.gather(1, order))
    assert torch.equal(found["scores"][..., 0], scores[..., 0].gather(1, order))
    assert torch.allclose(found["policies"], rows["policies"].float().expand(-1, 2, -1))
    assert torch.equal(own.clean(keys), clean)
    assert own.known(torch.arange(6)).tolist() == [False, True, False, False, True, False]


def test_the_oldest_masks_go_first():
    own, keys = table(), torch.tensor([3])
    budgets = []
    for seed in range(3):
        rows, _, budget, _, _ = visit(own, batch=1, seed=seed)
        own.put(keys, rows)
        budgets.append(budget)
    assert torch.equal(own.tensors["budget"][3], torch.cat([budgets[2], budgets[1]], 1)[0])
    assert own.tensors["count"].tolist() == [0, 0, 0, 6, 0, 0]


def test_instances_with_fewer_features_fit():
    own = table(policies=True)
    rows, masks, *_ = visit(own, features=7)
    own.put(torch.tensor([0, 5]), rows)
    found = own.past(torch.tensor([0, 5]), torch.tensor([[0, 1], [0, 1]]))
    assert torch.equal(found["masks"][..., :7], masks)
    assert found["masks"][..., 7:].sum() == found["policies"][..., 7:].sum() == 0


def test_slots_are_different_and_only_written_ones_are_there():
    own = table()
    own.put(torch.tensor([2]), visit(own, batch=1)[0])
    slots, there = own.choose(torch.tensor([2, 0]), 3, torch.rand(2, 4), pairs=False)
    assert there.tolist() == [[True, True, False], [False] * 3]
    assert set(slots[0, :2].tolist()) == {0, 1}
    assert all(len(set(row.tolist())) == 3 for row in slots)


def test_pairs_are_chosen_together():
    own = ReplayTable(1, 8, 10, 3)
    for seed in range(4):
        own.put(torch.tensor([0]), visit(own, batch=1, seed=seed)[0])
    chosen = set()
    for _ in range(20):
        slots, there = own.choose(torch.tensor([0]), 4, torch.rand(1, 8), pairs=True)
        assert there.all()
        pairs = slots.view(2, 2)
        assert torch.equal(pairs[:, 0] + 1, pairs[:, 1])
        assert (pairs[:, 0] % 2 == 0).all()
        chosen |= set(slots[0].tolist())
    assert chosen == set(range(8))


def test_of_many_classes_the_largest_are_exact_and_the_rest_is_shared():
    own = table(classes=50)
    rows, _, _, _, clean = visit(own, classes=50)
    own.put(torch.tensor([0, 1]), rows)
    found = own.clean(torch.tensor([0, 1]))
    assert torch.allclose(found.sum(1), torch.ones(2))
    assert torch.equal(found.argmax(1), clean.argmax(1))
    top = clean.topk(16).indices
    assert torch.equal(found.gather(1, top), clean.gather(1, top))


def test_an_input_is_known_again_and_another_is_not():
    inputs = torch.rand(3, 3, 64, 64)
    own = trace(inputs)
    for other in (inputs.flip(-1), inputs.flip(-2), inputs.roll(1, -1), inputs.roll(1, 0), inputs[:, [1, 0, 2]]):
        assert ((trace(other) - own).abs() / own).amax(1).min() > 1e-3
    noise = (inputs + 1e-6 * torch.randn_like(inputs)).clamp(0, 1)
    assert ((trace(noise) - own).abs() / own).max() < 1e-5


def test_padding_is_no_part_of_a_text():
    ids = torch.tensor([[5, 9, 7, 0]])
    longer = torch.tensor([[5, 9, 7, 0, 0, 0]])
    assert torch.allclose(trace(ids, ids > 0), trace(longer, longer > 0))
    other = torch.tensor([[9, 5, 7, 0]])
    assert (trace(ids, ids > 0) - trace(other, other > 0)).abs().max() > 0.01


def good():
    own = table()
    own.put(torch.tensor([2]), visit(own, batch=1)[0])
    return {name: tensor.clone() for name, tensor in own.tensors.items()}


def test_a_table_is_taken_over():
    own, found = table(), good()
    own.load(found, "x.ckpt")
    assert all(torch.equal(own.tensors[name], found[name]) for name in found)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("scores", lambda t: t + 2, "damaged: scores are 2 "),
        ("scores", lambda t: t * torch.nan, "damaged: scores"),
        ("scores", lambda t: t.double(), "do not fit this run: scores"),
        ("masks", lambda t: t[:, :2], "do not fit this run: masks"),
        ("masks", lambda t: t.to_sparse(), "no table of past queries, or a damaged one"),
        ("masks", lambda t: None, "no table of past queries, or a damaged one"),
        ("budget", lambda t: t + 1, "damaged: budget"),
        ("count", lambda t: t - 1, "damaged: count"),
        ("classes", lambda t: t + 3, "damaged: classes"),
        ("target", lambda t: t + 9, "damaged: target"),
        ("target", lambda t: t * 0 - 1, "masks of inputs without a class"),
        ("blank", lambda t: t * 0 + torch.inf, "damaged: blank"),
    ],
)
def test_a_table_that_is_none_is_refused_and_nothing_of_it_is_taken(name, change, message):
    own, found = table(), good()
    found[name] = change(found[name])
    with pytest.raises(ValueError, match=message):
        own.load(found, "x.ckpt")
    assert own.tensors["count"].sum() == 0


@pytest.mark.parametrize("options", [{"masks": 0}, {"masks": 9, "capacity": 8}, {"fresh": 1.5}, {"fresh_epochs": -1}])
def test_settings_are_checked(options):
    with pytest.raises(ValueError, match="Replay needs"):
        Replay(**options)


N, TEMPERATURE = 5, 0.15


@pytest.mark.parametrize("exploration", [RandomBudget(-2, 2), TwoSidedBudget(-2, 2)], ids=lambda e: type(e).__name__)
@pytest.mark.parametrize("control", [NoControl(), CompatibleControl()], ids=lambda c: type(c).__name__)
def test_masks_of_an_older_policy_give_the_gradient_of_the_present_one(exploration, control):
    """All 2^N masks of one budget, weighted by the older policy's probabilities, within the clip range."""
    old = exploration.centre(torch.tensor([[0.4, -1.0, 1.5, 0.0, -0.3]]))
    logits = (old + torch.tensor([[0.2, 0.1, -0.3, 0.0, 0.15]])).requires_grad_()
    rewards = torch.rand(2**N, generator=torch.Generator().manual_seed(7)) * 0.6 + 0.2
    masks, budget = every_mask(N).unsqueeze(0), torch.full((1, 2**N), 0.3)
    judge = Judge(exploration, control, Retained(), TEMPERATURE)
    drawn_by = old.unsqueeze(1).expand(-1, 2**N, -1)
    rollout = judge(
        masks, budget, rewards.unsqueeze(0), logits=logits, drawn_by=drawn_by, blank=torch.zeros(1), valid=None
    )
    probability = rollout.old_log_prob.sum(-1).exp()
    assert probability.sum().item() == pytest.approx(1, abs=1e-5)
    each = []  # the gradient of each mask alone
    for mask in range(2**N):
        rows = Judge.__call__(
            judge, masks[:, mask : mask + 1], budget[:, :1], rewards[None, mask : mask + 1], logits=logits,
            drawn_by=drawn_by[:, :1], blank=torch.zeros(1), valid=None,
        )  # fmt: skip
        terms = policy_terms(
            logits, torch.full((1, 1), 0.5), rows, exploration=exploration, baseline=ValueBaseline(),
            surrogate=clipped_surrogate_joint, clip_range=0.8,
        )  # fmt: skip
        assert (terms.log_ratio.sum(-1).exp() - 1).abs() < 0.8
        loss = terms.policy + TEMPERATURE * terms.relative_entropy
        each.append(torch.autograd.grad(loss.sum(), logits)[0][0])
    found = (probability[0].unsqueeze(1) * torch.stack(each)).sum(0)

    sampling = exploration(exploration.centre(logits), budget[:, :1])[0]
    chance = bernoulli.log_prob(sampling.expand(2**N, -1), masks[0]).sum(-1).exp()
    price = bernoulli.relative_entropy(sampling, exploration.reference(budget[:, :1])[0]).sum()
    side = exploration.side(budget[:, 0])
    objective = side * (chance * rewards).sum() - TEMPERATURE * price
    (exact,) = torch.autograd.grad(-objective.sum(), logits)
    assert torch.allclose(found, exact[0], atol=1e-5)
    assert exact.abs().max() > 1e-3


def test_masks_of_the_reference_have_ratio_one_whenever_they_were_drawn():
    exploration = ReferenceBudget(-2, 2)
    masks, budget = every_mask(N).unsqueeze(0), torch.rand(1, 2**N)
    judge = Judge(exploration, CompatibleControl(), Retained(), TEMPERATURE)
    logits = torch.randn(1, N, requires_grad=True)
    rollout = judge(masks, budget, torch.rand(1, 2**N), logits=logits, blank=torch.zeros(1), valid=None)
    later = (logits + 3 * torch.randn(1, N)).detach().requires_grad_()
    terms = policy_terms(
        later, torch.zeros(1, 2**N), rollout, exploration=exploration, baseline=ValueBaseline(),
        surrogate=clipped_surrogate_joint, clip_range=0.2,
    )  # fmt: skip
    assert terms.log_ratio.abs().max() == 0
    assert torch.equal(rollout.kept, masks.mean(-1))
