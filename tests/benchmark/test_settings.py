"""Two explainers that differ in a setting differ in their plain data."""

import json
from functools import partial

import numpy as np
import pytest
import torch

from fex.benchmark.settings import library_versions, plain_settings
from fex.black_box import CachedBlackBox, CallableBlackBox
from fex.black_box.network import TorchBlackBox
from fex.masking.sampling import incorrect_classes

HERE = "tests.benchmark.test_settings"


def half(inputs):
    return torch.full((len(inputs), 2), 0.5)


def also_half(inputs):
    return half(inputs)


class Layer(torch.nn.Module):
    """Of one's own, without weights."""

    def forward(self, inputs):
        return inputs.mean((2, 3))


class Setting:
    def __init__(self, value):
        self.value = value

    def __call__(self, inputs):
        return half(inputs)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1}, {"a": 2}),
        ({"a": {"b": (1, 2)}}, {"a": {"b": (1, 3)}}),
        ({1, 2}, {1, 3}),
        (np.zeros(3), np.ones(3)),
        (np.zeros(3), np.zeros(3, np.float32)),
        (np.float32(1), np.float32(2)),
        (torch.zeros(3), torch.ones(3)),
        (torch.float16, torch.float32),
        (half, also_half),
        (partial(half, a=1), partial(half, a=2)),
        (Layer, Setting),
        (Setting(1), Setting(2)),
    ],
)
def test_values_differ_and_are_plain(one, other):
    first, second, again = (json.dumps(plain_settings(Setting(each))[0]) for each in (one, other, one))
    assert first != second
    assert first == again


def test_order_is_no_setting():
    assert plain_settings({"a": 1, "b": 2}) == plain_settings({"b": 2, "a": 1})


def test_an_object_may_hold_itself():
    loop = Setting(None)
    loop.value = [loop]
    assert plain_settings(loop)[0] == {"class": f"{HERE}.Setting", "value": ["itself"]}


def test_what_a_mapping_says_may_be_secret():
    assert "hunter2" not in json.dumps(plain_settings(Setting({"token": "hunter2"})))


@pytest.mark.parametrize(
    "box",
    [
        CallableBlackBox(half, num_classes=2),
        CallableBlackBox(Setting(1), num_classes=2),
        CallableBlackBox(partial(half), num_classes=2),
        CallableBlackBox(Setting(1).__call__, num_classes=2),
        CachedBlackBox(CallableBlackBox(half, num_classes=2)),
        TorchBlackBox(torch.nn.Sequential(Layer(), torch.nn.Linear(3, 2)), num_classes=2),
    ],
    ids=["function", "object", "partial", "method", "within", "layer"],
)
def test_a_box_is_told_by_the_files_of_its_code(box):
    data, sources = plain_settings(box)
    assert list(sources) == [HERE]
    assert len(sources[HERE]) == 64
    json.dumps(data)


def test_functions_of_one_file_are_told_apart():
    one, other = (plain_settings(CallableBlackBox(each, num_classes=2, name="box"))[0] for each in (half, also_half))
    assert one != other


def test_code_of_this_project_and_of_packages_counts_as_a_whole():
    assert plain_settings([incorrect_classes, torch.nn.Linear, np.mean, json.dumps])[1] == {}


def test_versions_are_of_what_is_installed():
    found = library_versions()
    assert {"torch", "numpy", "scipy", "scikit-image"} <= set(found)
    assert "fex-explain" not in found
