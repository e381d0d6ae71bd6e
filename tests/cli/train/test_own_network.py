"""The word `black_box` for an encoder's model."""

import pytest

from fex.cli.train.own_network import name_own_network


def config(box, encoder):
    explainer = {"class_path": "fex.nets.ExplainerNet", "init_args": {"encoder": {"init_args": encoder}}}
    return {"init_args": {"black_box": {"class_path": "a.Box", "init_args": box}, "explainer": explainer}}


def test_the_encoder_gets_what_says_which_network_the_box_has():
    encoder = {"model": "black_box", "weights": None, "pretrained": False, "mean": None, "lora_rank": 8}
    box = {"model": "vit_tiny_patch16_224", "weights": "a.pth", "pretrained": True, "mean": [0.5] * 3, "chunk": 9}
    name_own_network(config(box, encoder))
    assert encoder == {
        "model": "vit_tiny_patch16_224", "weights": "a.pth", "pretrained": True, "mean": [0.5] * 3, "lora_rank": 8,
    }  # fmt: skip


def test_a_named_encoder_and_modules_without_one_stay_as_they_are():
    encoder = {"model": "resnet10t", "weights": None}
    name_own_network(config({"model": "x", "weights": "y"}, encoder))
    assert encoder == {"model": "resnet10t", "weights": None}
    for other in ({}, {"init_args": {}}, {"init_args": {"explainer": None}}, {"init_args": {"explainer": {}}}):
        name_own_network(other)


@pytest.mark.parametrize("box", [{}, {"url": "http://a"}, {"model": None, "weights": "vit_cifar10"}])
def test_a_box_that_names_no_network_is_refused(box):
    with pytest.raises(ValueError, match=r"but a\.Box has no `model` in its init_args: name the encoder's model"):
        name_own_network(config(box, {"model": "black_box"}))
