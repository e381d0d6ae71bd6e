"""A checkpoint goes on with the black box that it was trained for."""

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn

from fex.black_box import CallableBlackBox, TorchBlackBox
from lightning_modules import FEXModule
from tests.lightning_modules.small import GRID, Pictures, SmoothBox, fit, sgd, trainer, vit

SIZE = SmoothBox().preprocess


def network_box(seed, name="net"):
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIZE.height * SIZE.width, 2))
    return TorchBlackBox(net, class_names=["a", "b"], preprocess=SIZE, name=name)


def module(box):
    return FEXModule(box, GRID, vit(), num_masks=2, optimizer=sgd)


@pytest.fixture(scope="module")
def last(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    keep = ModelCheckpoint(folder, save_last=True)
    fit(module(network_box(0)), Pictures(8, batch_size=8), callbacks=[keep], enable_checkpointing=True)
    return folder / "last.ckpt"


def test_training_does_not_go_on_with_other_weights(last):
    with pytest.raises(ValueError, match="'net' with other weights than those of 'new': give .* without --ckpt_path"):
        trainer().fit(module(network_box(1, "new")), Pictures(8, batch_size=8), ckpt_path=last)


def test_the_same_weights_go_on_whatever_their_name(last, caplog):
    module(network_box(0, "renamed")).on_load_checkpoint(torch.load(last, weights_only=True))
    assert not caplog.records


def test_without_weights_to_compare_it_is_a_warning(last, caplog):
    box = CallableBlackBox(lambda x: torch.full((len(x), 2), 0.5), class_names=["a", "b"], preprocess=SIZE, name="f")
    content = torch.load(last, weights_only=True)
    module(box).on_load_checkpoint(content)
    assert "trained for black box 'net'; whether 'f', which is asked now, is the same cannot" in caplog.text
    caplog.clear()
    del content["fex"]["black_box_sha256"]  # as older ones
    module(network_box(1)).on_load_checkpoint(content)
    assert not caplog.records
    module(network_box(1, "other")).on_load_checkpoint(content)
    assert "whether 'other', which is asked now" in caplog.text


def test_measuring_on_another_box_is_a_warning(last, caplog):
    trainer().test(module(network_box(1, "new")), Pictures(8, batch_size=8), ckpt_path=last)
    assert "other weights than those of 'new': what is measured is not the box" in caplog.text
