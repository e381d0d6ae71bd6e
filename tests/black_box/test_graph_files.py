"""Files of OpenVINO and of torch.export as black boxes: the same reading as of ONNX, tests/black_box/test_onnx.py."""

import copy
import pickle

import openvino
import pytest
import torch
from torch import nn

import fex
from fex.baselines import RISE
from fex.black_box import ExportedBlackBox, OpenvinoBlackBox
from fex.images import PatchGrid, Preprocess

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.3, 0.4)


class Net(nn.Module):
    def __init__(self, channels=3, outputs=3):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.head = nn.Conv2d(channels, 4, 3, 2), nn.Linear(4, outputs)

    def forward(self, x):
        return self.head(self.conv(x).relu().mean((2, 3)))


def write(net, path, shape=(4, 3, 8, 10), *, dynamic=True):
    example = torch.zeros(shape)
    if path.suffix == ".pt2":
        sizes = ({0: torch.export.Dim("batch", min=1)},) if dynamic else None
        torch.export.save(torch.export.export(net.eval(), (example,), dynamic_shapes=sizes), path)
    else:
        size = [(-1 if dynamic else shape[0], *shape[1:])]
        openvino.save_model(openvino.convert_model(net.eval(), example_input=example, input=size), path)
    return path


def load(path, **options):
    trust = {"trust": True} if path.suffix == ".pt2" else {}
    return fex.load_black_box(path, outputs="logits", **trust, **options)


KINDS = pytest.mark.parametrize("suffix", [".xml", ".pt2"])


@KINDS
@pytest.mark.parametrize("dynamic", [True, False])
def test_agrees_with_torch(suffix, dynamic, tmp_path):
    net = Net()
    path = write(net, tmp_path / f"net{suffix}", dynamic=dynamic)
    box = load(path, mean=MEAN, std=STD, chunk=6)
    assert (box.preprocess, box.num_classes, box.name) == (Preprocess(8, 10), 3, "net")
    assert isinstance(box, OpenvinoBlackBox if suffix == ".xml" else ExportedBlackBox)
    mean, std = torch.tensor(MEAN).view(1, 3, 1, 1), torch.tensor(STD).view(1, 3, 1, 1)
    for count in (1, 5, 9):
        inputs = torch.rand(count, 3, 8, 10)
        with torch.no_grad():
            assert torch.allclose(box(inputs), net((inputs - mean) / std).softmax(1), atol=1e-4), count
    for other in (copy.deepcopy(box), pickle.loads(pickle.dumps(box))):
        assert torch.equal(other(inputs), box(inputs))
    with pytest.raises(ValueError, match="H = 9, its graph takes 8 pixels"):
        box(torch.rand(1, 3, 9, 10))


@KINDS
def test_one_logit_of_a_grey_picture_and_four_channels(suffix, tmp_path):
    grey, bands = Net(1, 1), Net(4, 2)
    box = load(write(grey, tmp_path / f"grey{suffix}", (2, 1, 8, 8)), mean=0.5, std=0.25, class_names=["crack"])
    inputs = torch.rand(3, 4, 8, 8)
    luma = (inputs[:, :3] * torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1, keepdim=True)
    with torch.no_grad():
        assert torch.allclose(box(inputs[:, :3])[:, 1:], grey((luma - 0.5) / 0.25).sigmoid(), atol=1e-4)
    assert box.class_names == ["not crack", "crack"]
    path = write(bands, tmp_path / f"bands{suffix}", (2, 4, 8, 8))
    box = load(path, mean=[0.0] * 4, std=[1.0] * 4)
    with torch.no_grad():
        assert torch.allclose(box(inputs), bands(inputs).softmax(1), atol=1e-4)
    assert RISE(box, PatchGrid(2, 2), num_masks=8).attribute(inputs[:1], 0).shape == (1, 8, 8)
    with pytest.raises(ValueError, match=r"expected one float input \(B, 3, H, W\).*`mean` and `std` a value for each"):
        load(path)
    with pytest.raises(ValueError, match="4 channels without `std`"):
        load(path, mean=[0.0] * 4)


@KINDS
def test_what_is_no_such_file(suffix, tmp_path):
    path = tmp_path / f"none{suffix}"
    with pytest.raises(FileNotFoundError, match="Found no "):
        load(path)
    path.write_bytes(b"garbage")
    with pytest.raises(ValueError, match="cannot open .*none"):
        load(path)


def test_a_pt2_is_not_read_without_trust(tmp_path, monkeypatch):
    """Not even its first byte: what it holds may be unpickled and evaluated."""
    monkeypatch.chdir(tmp_path)
    path = write(Net(), tmp_path / "net.pt2")
    monkeypatch.setattr(torch.export, "load", lambda *a, **k: pytest.fail("it was read"))
    for options in ({}, {"trust": False}):
        with pytest.raises(ValueError, match="can run code that is hidden in it.*trust: true"):
            fex.load_black_box(path, **options)


def test_an_openvino_file_without_its_weights(tmp_path):
    path = write(Net(), tmp_path / "net.xml")
    path.with_suffix(".bin").unlink()
    with pytest.raises(ValueError, match=r"with its \.bin beside it"):
        load(path)
