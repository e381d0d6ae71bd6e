import captum.metrics
import pytest
import torch

from fex.baselines import Random
from fex.images import PatchGrid
from fex.masking import masked_probabilities
from fex.metrics import Attributed, Infidelity, get_protocol
from fex.metrics.functional import scaled_infidelity
from tests.toys import LinearBox, TableBox, white

GRID = PatchGrid(2, 3)
WEIGHTS = torch.tensor([0.2, 0.05, 0.15, 0.1, 0.12, 0.08])


def attributed(box, scores, inputs=None):
    inputs = white(len(scores), 6) if inputs is None else inputs
    return Attributed(inputs, scores, GRID.smooth(scores, (6, 6)), GRID, box(inputs))


def test_is_captums_with_normalisation():
    a, d = torch.rand(4, 12), torch.rand(4, 12)
    calls = iter(range(12))

    def perturb(inputs):
        # One number an instance, whose product with the attribution 1 is a_k; the score falls by d_k.
        k = next(calls)
        return a[:, k : k + 1], inputs - d[:, k : k + 1]

    expected = captum.metrics.infidelity(
        lambda x: x[:, 0], perturb, torch.zeros(4, 1), torch.ones(4, 1), n_perturb_samples=12,
        max_examples_per_batch=4, normalize=True,
    )  # fmt: skip
    torch.testing.assert_close(scaled_infidelity(a, d), expected)


def test_factor_is_the_best_one():
    a, d = torch.randn(1, 30), torch.randn(1, 30)
    best = scaled_infidelity(a, d)
    grid = torch.linspace(-3, 3, 6001)[:, None]
    assert float(best) == pytest.approx(float((grid * a - d).square().mean(1).min()), abs=1e-5)
    torch.testing.assert_close(scaled_infidelity(7 * a, d), best)
    torch.testing.assert_close(scaled_infidelity(torch.zeros_like(a), d), d.square().mean(1))


def test_exact_effects_of_a_linear_box_have_none():
    box = LinearBox(GRID, WEIGHTS, bias=0.25, size=6)
    right, wrong = get_protocol("infidelity").evaluate(box, attributed(box, torch.stack([WEIGHTS, WEIGHTS.flip(0)])))[
        "infidelity"
    ]
    assert float(right) == pytest.approx(0, abs=1e-9)
    assert float(wrong) > 1e-4


def test_many_masks_are_all_masks():
    # With the mean over random masks at its limit, the mean over all 2^N: enumerated.
    box = TableBox(GRID, torch.rand(64), size=6)
    scores = torch.rand(1, 6)
    data = attributed(box, scores)
    masks = (torch.arange(64)[:, None] >> torch.arange(6) & 1).float()
    probabilities = box(torch.ones(64, 3, 6, 6) * GRID.expand(masks, (6, 6))[:, None])
    target = int(data.clean.argmax(1))
    effects = data.clean[0, target] - probabilities[:, target]
    exact = scaled_infidelity(((1 - masks) @ scores[0]).view(1, -1), effects.view(1, -1))
    got = Infidelity("x", num_masks=4000).evaluate(box, data)["infidelity"]
    torch.testing.assert_close(got, exact, rtol=0.1, atol=0)


def test_masks_do_not_depend_on_the_batch_and_cost_what_they_say():
    box = LinearBox(GRID, WEIGHTS, bias=0.25, size=6)
    inputs, scores = torch.rand(3, 3, 6, 6), torch.rand(3, 6)
    protocol = Infidelity("x", num_masks=7)
    together = protocol.evaluate(box, attributed(box, scores, inputs))["infidelity"]
    before = box.queries
    alone = protocol.evaluate(box, attributed(box, scores[1:2], inputs[1:2]))["infidelity"]
    assert box.queries - before == 1 + 7
    torch.testing.assert_close(together[1:2], alone)
    other = protocol.evaluate(box, attributed(box, scores[1:2], inputs[1:2]), seed=1)["infidelity"]
    assert not torch.equal(alone, other)


def test_masks_are_not_the_scores_of_random(monkeypatch):
    """With one seed, both draw for an image by its pixels."""
    features, inputs, masks = PatchGrid(8, 8), white(40, 8) * torch.rand(40, 1, 1, 1), []

    def watching(black_box, masker, inputs, given, target):
        masks.append(given)
        return masked_probabilities(black_box, masker, inputs, given, target)

    monkeypatch.setattr("fex.metrics.infidelity.masked_probabilities", watching)
    box = LinearBox(features, torch.full((64,), 0.01), bias=0.1, size=8)
    scores = Random(features, seed=3).attribute_features(inputs)
    data = Attributed(inputs, scores, features.smooth(scores, (8, 8)), features, box(inputs))
    get_protocol("infidelity").evaluate(box, data, seed=3)
    same = (masks[0][:, 0].bool() == (scores < 0.5)).float().mean()
    assert 0.4 < float(same) < 0.6


def test_errors():
    with pytest.raises(ValueError, match=r"\(2, 3\) and effects of \(2, 4\), expected \(B, K\) twice"):
        scaled_infidelity(torch.zeros(2, 3), torch.zeros(2, 4))
