"""The refined explainer: no query changes nothing, few queries find the truth, a fidelity that says so."""

import pytest
import torch

from fex.baselines.base import FeatureExplainer
from fex.images import Black, PatchGrid
from fex.refine import Refined, fidelity
from fex.refine.design import refinement_masks
from tests.toys import LinearBox, white

GRID = PatchGrid(3, 3)
EFFECTS = torch.tensor([0.3, 0.0, 0.1, 0.0, 0.2, 0.0, 0.0, 0.05, 0.0])


class Fixed(FeatureExplainer):
    """Answers one map."""

    def __init__(self, values):
        super().__init__(GRID)
        self.values = values

    def attribute_features(self, inputs, target=None):
        return self.values.expand(len(inputs), -1)


@pytest.fixture
def box():
    return LinearBox(GRID, EFFECTS, size=9)


def refined(box, values, **options):
    return Refined(Fixed(values), box, Black(), **options)


def test_no_query_gives_the_map_bit_for_bit(box):
    values = torch.rand(9)
    found = refined(box, values, queries=0).attribute_features(white(2, 9), 1)
    assert torch.equal(found, values.expand(2, -1))
    assert box.queries == 0


def test_finds_a_linear_box_whatever_the_map(box):
    for values in (EFFECTS, -EFFECTS, torch.rand(9), torch.zeros(9)):
        found = refined(box, values, queries=64).refine(white(1, 9), 1)
        torch.testing.assert_close(found.attribution[0], EFFECTS - EFFECTS.mean(), rtol=0, atol=0.02)
        assert found.fidelity[0].value > 0.95
        assert found.queries == 64


def test_queries_are_counted(box):
    refined(box, EFFECTS, queries=10).attribute(white(2, 9), 1)
    assert box.queries == 20
    refined(box, EFFECTS, queries=10).attribute(white(2, 9))
    assert box.queries == 42  # one more an input, for its class


def test_own_fidelity_tells_a_good_map_from_a_bad_one(box):
    good = refined(box, EFFECTS, queries=32).refine(white(1, 9), 1)
    bad = refined(box, torch.tensor([0.0, 1, 0, 1, 0, 1, 1, 0, 1]), queries=32).refine(white(1, 9), 1)
    assert good.own_fidelity[0].value > 0.9
    assert bad.own_fidelity[0].value < 0.7
    assert good.own_fidelity[0].low <= good.own_fidelity[0].value <= good.own_fidelity[0].high


def test_steps_end_where_one_step_does(box):
    images = torch.rand(2, 3, 9, 9)
    explainer = refined(box, EFFECTS, queries=20)
    steps = list(explainer.iterate(images, 1, step=8))
    assert [step.queries for step in steps] == [0, 8, 16, 20]
    torch.testing.assert_close(steps[-1].attribution, explainer.attribute_features(images, 1))
    assert bool((steps[-1].std < steps[1].std).all())


def test_batch_equals_one_by_one(box):
    images = torch.rand(3, 3, 9, 9)
    explainer = refined(box, EFFECTS, queries=12)
    together = explainer.attribute_features(images, 1)
    for row in range(3):
        torch.testing.assert_close(together[row], explainer.attribute_features(images[row : row + 1], 1)[0])


def test_wrong_numbers_are_refused(box):
    with pytest.raises(ValueError, match="must not be negative"):
        refined(box, EFFECTS, queries=-1)
    with pytest.raises(ValueError, match="step"):
        next(refined(box, EFFECTS).iterate(white(1, 9), 1, step=0))


def test_masks_are_a_sequence_of_complements_at_even_budgets():
    masks = refinement_masks(196, (14, 14), 0, 64, seed=3)
    assert torch.equal(masks[0::2], ~masks[1::2])
    assert torch.equal(refinement_masks(196, (14, 14), 5, 9, seed=3), masks[5:9])
    assert not torch.equal(refinement_masks(196, (14, 14), 0, 2, seed=4), masks[:2])
    kept = masks[0::2].double().mean(1)
    assert bool((kept > 0.3).all())
    assert float(kept.std()) > 0.1


def test_smooth_masks_keep_their_budget():
    rates = torch.stack([refinement_masks(36, (6, 6), 2, 3, seed=seed)[0].double() for seed in range(2000)])
    expected = torch.sigmoid(torch.tensor(3 * (1.5 * (5**0.5 - 1) / 2 % 1)))
    assert float((rates.mean(0) - expected).abs().max()) < 0.05
    grid = (rates - rates.mean(0)).view(-1, 6, 6)
    assert float((grid[:, :, 1:] * grid[:, :, :-1]).mean() / grid.square().mean()) > 0.3


def test_where_nothing_is_left_to_foretell_nothing_is_known():
    mean = torch.full((40,), 0.5)
    for scores in (mean, mean + 1e-6 * torch.rand(40)):
        found = fidelity(scores, mean + 0.1, mean + 0.01)
        assert not found.known
        assert found.to_dict() == {"value": None, "low": None, "high": None, "queries": 40}
    by_count = torch.linspace(0, 1, 40)
    assert not fidelity(by_count, by_count + 0.1, by_count + 1e-6).known  # the number of removed features says all


def test_fidelity_of_perfect_no_and_wrong_predictions():
    scores = torch.rand(40)
    mean = torch.full((40,), 0.5)
    assert fidelity(scores, scores, mean).value == pytest.approx(1)
    assert fidelity(scores, mean, mean).value == pytest.approx(0)
    assert fidelity(scores, 1 - scores, mean).value == pytest.approx(-3)
    assert fidelity(scores[:2], mean[:2], mean[:2]).value != fidelity(scores, mean, mean).value  # NaN: too few
