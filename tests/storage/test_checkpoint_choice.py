"""Which checkpoint of a folder is meant: the newest of one run, and no guess between several."""

import os

import pytest
import torch

from fex.explainers import load_explainer
from tests.explainers.tiny import tiny_explainer, write_checkpoint


def checkpoint(path, seed, steps=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    write_checkpoint(path, tiny_explainer(seed))
    if steps is not None:
        torch.save({**torch.load(path, weights_only=True), "global_step": steps}, path)
    return path


def is_of(found, seed):
    return torch.equal(found.net.weight, tiny_explainer(seed).net.weight)


def test_last_is_the_newest(tmp_path):
    checkpoint(tmp_path / "checkpoints" / "epoch=3-step=40.ckpt", 1)
    checkpoint(tmp_path / "checkpoints" / "last.ckpt", 2)
    assert is_of(load_explainer(tmp_path), 2)


def test_without_last_it_is_that_of_the_most_steps_whatever_its_name_or_age(tmp_path):
    checkpoint(tmp_path / "epoch=9-step=90.ckpt", 1, steps=90)
    newest = checkpoint(tmp_path / "epoch=10-step=100.ckpt", 2, steps=100)  # sorts first
    checkpoint(tmp_path / "z.ckpt", 3)
    os.utime(newest, (0, 0))  # as after a copy
    assert is_of(load_explainer(tmp_path), 2)


@pytest.mark.parametrize(
    "names",
    [
        ("a/checkpoints/last.ckpt", "b/checkpoints/last.ckpt"),
        ("checkpoints/last.ckpt", "version_1/checkpoints/epoch=1.ckpt"),
        ("last.ckpt", "last-v1.ckpt"),
        ("epoch=0-step=5.ckpt", "epoch=0-step=5-v1.ckpt"),
    ],
)
def test_several_runs_are_refused_with_the_list(names, tmp_path):
    for number, name in enumerate(names):
        checkpoint(tmp_path / name, number, steps=5)
    with pytest.raises(ValueError, match="several") as caught:
        load_explainer(tmp_path)
    assert all(str(tmp_path / name) in str(caught.value) for name in names)
