"""Boxes that answer by batch, by order or by chance are told, and their answers are not remembered."""

import pytest
import torch
from torch import nn

from fex.black_box import CachedBlackBox, CallableBlackBox, TorchBlackBox
from fex.black_box.steadiness import check_steadiness, steadiness
from fex.images import Preprocess
from lightning_modules.clean_answers import CleanAnswers

OPTIONS = {"class_names": ["a", "b", "c"], "preprocess": Preprocess(4, 4)}
INPUTS = torch.rand(8, 3, 4, 4, generator=torch.Generator().manual_seed(0))


def colours(x):
    return (9 * x.mean((2, 3))).softmax(1)


class BatchMean(nn.Module):
    def forward(self, x):
        return 9 * (x - x.mean(0)).mean((2, 3))


class Dropout(nn.Module):
    def forward(self, x):
        return 9 * nn.functional.dropout(x.mean((2, 3)))


def function(change):
    return CallableBlackBox(lambda x: change(colours(x)), **OPTIONS)


@pytest.mark.parametrize(
    ("box", "told"),
    [
        (function(lambda z: z), ""),
        (function(lambda z: z + 0.004 * torch.tensor([1.0, -1.0, 0.0]) * len(z)), ""),  # another batch's rounding
        (TorchBlackBox(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()), **OPTIONS), ""),
        (function(lambda z: z.flip(0)), "in another batch"),
        (TorchBlackBox(BatchMean(), **OPTIONS), "in another batch"),
        (TorchBlackBox(Dropout(), **OPTIONS), "when asked again"),
        (CachedBlackBox(TorchBlackBox(Dropout(), **OPTIONS)), "when asked again"),
    ],
)  # fmt: skip
def test_what_a_box_depends_on_is_told(box, told):
    torch.manual_seed(0)
    found = check_steadiness(box, INPUTS)
    assert told in found
    assert bool(found) == bool(told)
    assert box.queries == 9
    assert not found or not CleanAnswers(box).on


def test_a_steady_network_is_remembered_still():
    box = TorchBlackBox(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()), **OPTIONS)
    assert check_steadiness(box, INPUTS) == ""
    assert CleanAnswers(box).on


def test_inputs_of_different_classes_are_asked():
    """Rows that are exchanged among inputs of one answer do not show."""
    inputs = torch.zeros(8, 3, 4, 4)
    inputs[:, 0] = 1.0
    inputs += torch.arange(8).view(-1, 1, 1, 1) * 1e-6 * -1
    inputs[6, 0], inputs[6, 1] = 0.0, 1.0
    inputs = inputs.clamp(0, 1)
    turned = function(lambda z: z.flip(0))
    assert check_steadiness(turned, inputs) == ""
    assert "in another batch" in check_steadiness(turned, inputs, colours(inputs))


def test_fewer_than_two_different_inputs_say_nothing():
    box = function(lambda z: z.flip(0))
    assert check_steadiness(box, INPUTS[:1].expand(4, -1, -1, -1)) == ""
    assert box.queries == 0


def test_the_formula():
    here = torch.tensor([[0.9, 0.1], [0.2, 0.8]])
    assert steadiness(here, here + 0.019, here - 0.019) == ""
    assert "asked again" in steadiness(here, here + 0.03, here)
    assert "another batch" in steadiness(here, here, here.flip(0))
