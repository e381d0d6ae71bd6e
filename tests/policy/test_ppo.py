import math

import pytest
import torch

from fex.policy import clip_fraction, clipped_surrogate_joint, clipped_surrogate_per_feature

# ratio, advantage -> loss, d loss / d log ratio, worked by hand from eq. 21-22 with epsilon = 0.2
TABLE = [
    (1.0, 2.0, -2.0, -2.0),
    (1.1, 2.0, -2.2, -2.2),
    (1.5, 2.0, -2.4, 0.0),
    (0.5, 2.0, -1.0, -1.0),
    (1.5, -2.0, 3.0, 3.0),
    (0.9, -2.0, 1.8, 1.8),
    (0.5, -2.0, 1.6, 0.0),
    (1.3, 0.0, 0.0, 0.0),
]


@pytest.mark.parametrize(("ratio", "advantage", "loss", "slope"), TABLE)
@pytest.mark.parametrize("surrogate", [clipped_surrogate_joint, clipped_surrogate_per_feature])
def test_table_of_one_feature(surrogate, ratio, advantage, loss, slope):
    new = torch.tensor([[[math.log(ratio) - 0.3]]], requires_grad=True)
    value = surrogate(new, torch.tensor([[[-0.3]]]), torch.tensor([[advantage]]), 0.2)
    value.sum().backward()
    assert value.item() == pytest.approx(loss, abs=1e-5)
    assert new.grad.item() == pytest.approx(slope, abs=1e-5)


def test_joint_ratio_is_the_product_and_per_feature_clips_each():
    old = torch.zeros(1, 1, 2)
    new = torch.tensor([[[0.15, 0.15]]])  # each ratio 1.16 is inside 1 +- 0.2, the product 1.35 is outside
    one = torch.ones(1, 1)
    assert clipped_surrogate_joint(new, old, one, 0.2).item() == pytest.approx(-1.2)
    assert clipped_surrogate_per_feature(new, old, one, 0.2).item() == pytest.approx(-2 * math.exp(0.15), abs=1e-5)


def test_both_have_the_same_gradient_before_the_policy_moves():
    gradients = []
    for surrogate in (clipped_surrogate_joint, clipped_surrogate_per_feature):
        new = torch.full((1, 2, 3), -0.7, requires_grad=True)
        surrogate(new, new.detach().clone(), torch.tensor([[1.5, -0.5]]), 0.2).sum().backward()
        gradients.append(new.grad)
    assert torch.allclose(*gradients)


def test_clip_fraction_counts_ratios_outside():
    log_ratio = torch.tensor([0.0, 0.1, 0.3, -0.3, -0.1])
    assert clip_fraction(log_ratio, 0.2).item() == pytest.approx(2 / 5)
