"""By what a box is known again."""

import hashlib

import torch
from torch import nn

from fex.black_box import CachedBlackBox, CallableBlackBox, TorchBlackBox
from fex.images import Preprocess
from fex.storage.checkpoint import read_checkpoint
from tests.black_box.test_graph_files import Net, load, write
from tests.lightning_modules.test_callbacks import fixed, module, trainer  # noqa: F401 a fixture


def box(net):
    return TorchBlackBox(net, num_classes=3, preprocess=Preprocess(8, 8))


def test_the_weights_and_nothing_else():
    net, other, ints = Net(), Net(), nn.BatchNorm2d(2).bfloat16()
    assert box(net).digest() == box(other).digest() == CachedBlackBox(box(net)).digest()
    assert len(box(net).digest()) == 64
    with torch.no_grad():
        other.head.bias[0] += 1e-6
    assert box(net).digest() != box(other).digest()
    assert box(ints).digest() != box(nn.BatchNorm2d(2)).digest()  # numbers without a dimension, and of half precision
    assert CallableBlackBox(Net(), num_classes=3).digest() is None


def test_files(tmp_path):
    path = write(Net(), tmp_path / "net.pt2", dynamic=False)
    assert load(path).digest() == hashlib.sha256(path.read_bytes()).hexdigest()
    path = write(Net(), tmp_path / "net.xml")
    before = load(path).digest()
    content = bytearray(path.with_suffix(".bin").read_bytes())
    content[0] ^= 1
    path.with_suffix(".bin").write_bytes(content)
    assert load(path).digest() != before


def test_a_checkpoint_says_which_box_was_asked(module, tmp_path, monkeypatch):  # noqa: F811
    asked = []
    monkeypatch.setattr(type(module.black_box), "digest", lambda self: asked.append(1) or "ab" * 32)
    run = trainer(tmp_path, [], max_epochs=1, limit_val_batches=0)
    run.fit(module, fixed())
    run.save_checkpoint(tmp_path / "one.ckpt")
    run.save_checkpoint(tmp_path / "two.ckpt")
    assert read_checkpoint(tmp_path / "two.ckpt")[1]["black_box_sha256"] == "ab" * 32
    assert asked == [1]
