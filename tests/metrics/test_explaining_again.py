"""Protocols that ask the explainer again: about near inputs, another class, another box."""

import math

import pytest
import torch
from torch import nn

from fex.baselines import Occlusion, Random, Saliency
from fex.black_box import TorchBlackBox
from fex.black_box.shuffled import shuffled_box
from fex.images import PatchGrid, Preprocess
from fex.metrics import Attributed, Sensitivity, get_protocol
from fex.metrics.functional import largest_relative_change
from tests.toys import PatchBox, white

GRID = PatchGrid(2, 2)


class Net(nn.Module):
    """Classes 0 and 1 look at the left and the right half."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3 * 64, 3)

    def forward(self, x):
        return self.linear(x.flatten(1))


def net_box(**options):
    torch.manual_seed(0)
    return TorchBlackBox(Net(), num_classes=3, preprocess=Preprocess(8, 8), mean=(0.0,) * 3, std=(1.0,) * 3, **options)


def attributed(box, explain, inputs, **options):
    clean = box(inputs)
    scores, maps = explain(inputs, clean.argmax(1))
    return Attributed(inputs, scores, maps, GRID, clean, explain=explain, **options)


def by(explainer):
    def explain(inputs, target):
        maps = explainer.attribute(inputs, target)
        return GRID.pool(maps), maps

    return explain


def test_change_is_the_largest_of_the_ratios_of_norms():
    scores, changed = torch.rand(3, 4), torch.rand(3, 5, 4)
    expected = [
        max(math.dist(near, own) / math.hypot(*own) for near in around)
        for own, around in zip(scores.tolist(), changed.tolist(), strict=True)
    ]
    assert largest_relative_change(scores, changed).tolist() == pytest.approx(expected, rel=1e-5)
    assert largest_relative_change(torch.zeros(1, 4), changed[:1]).isnan().all()
    with pytest.raises(ValueError, match=r"\(3, 4\) and \(3, 5\) near them"):
        largest_relative_change(scores, scores.new_zeros(3, 5))


def test_sensitivity_of_a_linear_method_is_bounded_by_the_radius():
    box = PatchBox(GRID, 0)

    def brightness(inputs, target):
        maps = inputs.mean(1)
        return GRID.pool(maps), maps

    inputs = torch.rand(3, 3, 8, 8) * 0.5 + 0.25
    inputs = inputs.round(decimals=1)
    data = attributed(box, brightness, inputs)
    change = Sensitivity("s", radius=0.1).evaluate(box, data)["change"]
    # Pixels move by at most 0.1 each, so patch means do, and their norm by at most 0.1 sqrt(4).
    assert ((change > 0) & (change <= 0.2 / data.scores.norm(dim=1))).all()
    again = Sensitivity("s", radius=0.1).evaluate(box, data)["change"]
    torch.testing.assert_close(again, change)
    alone = attributed(box, brightness, inputs[1:2])
    torch.testing.assert_close(Sensitivity("s", radius=0.1).evaluate(box, alone)["change"], change[1:2])
    assert (Sensitivity("s", radius=0.01).evaluate(box, data)["change"] < change).all()
    assert (Sensitivity("s", radius=0.1, draws=1).evaluate(box, data)["change"] < change).any()


def test_sensitivity_stays_inside_the_pixels_range():
    seen = []

    def watching(inputs, target):
        seen.append(inputs)
        return torch.ones(len(inputs), 4), torch.ones(len(inputs), 8, 8)

    box = PatchBox(GRID, 0)
    result = get_protocol("sensitivity").evaluate(box, attributed(box, watching, white(2)))
    assert result["change"].tolist() == [0, 0]
    assert len(seen) == 1 + 10
    assert all(0.98 - 1e-6 <= float(x.min()) <= float(x.max()) <= 1 for x in seen)


def test_classes_are_told_apart_or_not():
    box = net_box()
    inputs = torch.rand(4, 3, 8, 8)
    protocol = get_protocol("class_discrimination")
    random = protocol.evaluate(box, attributed(box, by(Random(GRID)), inputs))["correlation"]
    assert random.tolist() == [1] * 4

    def opposite(inputs, target):
        """The three likeliest classes get a map, the same, and its reverse."""
        order = box(inputs).argsort(1, descending=True)
        place = (order == target[:, None]).int().argmax(1)
        ramp = torch.arange(4.0)
        scores = torch.stack([ramp, -ramp, ramp])[place]
        return scores, GRID.expand(scores, (8, 8))

    assert protocol.evaluate(box, attributed(box, opposite, inputs))["correlation"].tolist() == [-1] * 4


def test_the_other_class_is_another_class_even_in_a_tie():
    asked = []

    def watching(inputs, target):
        asked.append(target)
        return torch.rand(len(inputs), 4), torch.rand(len(inputs), 8, 8)

    box = net_box()
    data = Attributed(
        white(1), torch.rand(1, 4), torch.rand(1, 8, 8), GRID, torch.full((1, 3), 1 / 3), explain=watching
    )
    get_protocol("class_discrimination").evaluate(box, data)
    assert asked[0].item() != 0


def test_shuffled_weights_change_a_gradient_and_not_a_random_map():
    box = net_box()
    inputs = torch.rand(6, 3, 8, 8)
    protocol = get_protocol("model_randomisation")
    data = attributed(box, by(Saliency(box)), inputs, explain_box=lambda other: by(Saliency(other)))
    correlation = protocol.evaluate(box, data)["correlation"]
    assert (correlation < 1).all()
    # The method around the same box would give the same map.
    same = attributed(box, by(Saliency(box)), inputs, explain_box=lambda other: by(Saliency(box)))
    assert protocol.evaluate(box, same)["correlation"].tolist() == pytest.approx([1] * 6)
    blind = attributed(box, by(Random(GRID)), inputs)
    assert protocol.evaluate(box, blind)["correlation"].isnan().all()


def test_queries_of_the_shuffled_box_are_spent_too():
    box, inputs = net_box(), torch.rand(3, 3, 8, 8)
    asking = attributed(box, by(Saliency(box)), inputs, explain_box=lambda other: by(Occlusion(other, GRID)))
    before = box.queries
    get_protocol("model_randomisation").evaluate(box, asking)
    assert box.queries - before == 3 * (GRID.num_features + 1)


def test_shuffled_box_keeps_each_tensors_values_and_leaves_the_box_alone():
    box = net_box()
    before = {name: value.clone() for name, value in box.module.state_dict().items()}
    other = shuffled_box(box)
    assert other is shuffled_box(box)
    assert other is not shuffled_box(box, seed=1)
    assert other.name.endswith("(shuffled weights)")
    for name, value in other.module.state_dict().items():
        torch.testing.assert_close(box.module.state_dict()[name], before[name], rtol=0, atol=0)
        torch.testing.assert_close(value.flatten().sort().values, before[name].flatten().sort().values)
    assert not torch.equal(other.module.linear.weight, before["linear.weight"])
    queries = box.queries
    other(torch.rand(2, 3, 8, 8))
    assert box.queries == queries
    with pytest.raises(TypeError, match="can only be queried"):
        shuffled_box(PatchBox(GRID, 0))


def test_errors():
    box = PatchBox(GRID, 0)
    data = Attributed(white(1), torch.rand(1, 4), torch.rand(1, 8, 8), GRID, torch.ones(1, 1))
    with pytest.raises(ValueError, match="'sensitivity' asks the explainer again, and these are attributions alone"):
        get_protocol("sensitivity").evaluate(box, data)
    with pytest.raises(ValueError, match="compares two classes; the black box has one"):
        get_protocol("class_discrimination").evaluate(box, data)
