"""What networks and functions return, in which dtype, and which names and targets their classes have."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import timm
import torch
from PIL import ImageOps
from torch import nn
from transformers import ViTForImageClassification, ViTImageProcessor

from fex.baselines import RISE, Saliency
from fex.black_box import CallableBlackBox, TimmBlackBox, TorchBlackBox, TransformersBlackBox, resolve_target
from fex.black_box.classes import names_of
from fex.black_box.processors import preprocess_of
from fex.class_names import class_indices
from fex.images import PatchGrid, Preprocess
from tests.families import TIMM, TRANSFORMERS, save_transformers, timm_net

INPUTS = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
PLAIN = {"num_classes": 3, "mean": 0.0, "std": 1.0}


def network(channels=3):
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(channels, 4, 3), nn.Flatten(), nn.Linear(144, 3)).eval()


class Wrapped(nn.Module):
    def __init__(self, wrap):
        super().__init__()
        self.net, self.wrap = network(), wrap

    def forward(self, x):
        return self.wrap(self.net(x))


WRAPS = {
    "tuple": lambda y: (y, y * 0),
    "features first": lambda y: (torch.ones(len(y), 16), y),
    "list": lambda y: [y],
    "one key": lambda y: {"out": y},
    "logits": lambda y: {"loss": torch.zeros(()), "logits": y},
    "object": lambda y: SimpleNamespace(logits=y),
    "all-convolutional": lambda y: y[:, :, None, None],
}


@pytest.mark.parametrize("kind", WRAPS)
def test_the_logits_are_found(kind):
    truth = network()(INPUTS).softmax(1)
    box = TorchBlackBox(Wrapped(WRAPS[kind]), **PLAIN)
    assert torch.allclose(box(INPUTS), truth, atol=1e-6)
    assert torch.allclose(box.differentiable(INPUTS).softmax(1), truth, atol=1e-6)
    function = CallableBlackBox(Wrapped(WRAPS[kind]), num_classes=3, outputs="logits")
    assert torch.allclose(function(INPUTS), truth, atol=1e-6)


def test_rows_in_a_list():
    box = CallableBlackBox(lambda x: [row.softmax(0) for row in network()(x)], num_classes=3)
    assert torch.allclose(box(INPUTS), network()(INPUTS).softmax(1), atol=1e-6)


@pytest.mark.parametrize(
    ("wrap", "message"),
    [
        (lambda y: {"main": y, "aux": y}, r"the keys \['main', 'aux'\], expected one to be 'logits'"),
        (lambda y: (torch.ones(len(y), 16),), r"returned shape \(4, 16\), expected \(4, 3\)"),
        (lambda y: None, "returned a NoneType without a tensor of logits"),
        (lambda y: y.softmax(1), "are probabilities already"),
    ],
)
def test_answers_that_are_refused(wrap, message):
    with pytest.raises(ValueError, match=message):
        TorchBlackBox(Wrapped(wrap), **PLAIN)(INPUTS)


def test_one_row_of_logits_may_sum_to_one_by_chance():
    box = TorchBlackBox(Wrapped(lambda y: y.softmax(1)), **PLAIN)
    torch.testing.assert_close(box(INPUTS[:1]), network()(INPUTS[:1]).softmax(1).softmax(1))


def test_return_dict_false(tmp_path):
    folder = save_transformers(TRANSFORMERS["vit"], tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "return_dict": False}))
    assert TransformersBlackBox(folder)(torch.rand(2, 3, 32, 32)).shape == (2, 3)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_networks_of_any_dtype(dtype):
    box = TorchBlackBox(network().to(dtype), **PLAIN)
    inputs = INPUTS.double().requires_grad_()
    assert torch.allclose(box(inputs.detach()), network()(INPUTS).softmax(1), atol=2e-2)
    logits = box.differentiable(inputs)
    assert logits.dtype == torch.float32
    assert torch.autograd.grad(logits.sum(), inputs)[0].abs().sum() > 0


@pytest.mark.parametrize("made", [torch.jit.script, lambda net: torch.jit.trace(net, INPUTS)])
def test_script_modules(made):
    box = TorchBlackBox(made(network()), **PLAIN)
    assert torch.allclose(box(INPUTS), network()(INPUTS).softmax(1), atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_files_dtype_stays_in_the_file(dtype, tmp_path):
    folder = save_transformers(TRANSFORMERS["vit"], tmp_path)
    net = ViTForImageClassification.from_pretrained(folder).to(dtype)
    net.save_pretrained(folder)
    box = TransformersBlackBox(folder)
    assert {value.dtype for value in box.module.parameters()} == {torch.float32}
    net = timm_net(TIMM["vit"]).to(dtype)
    torch.save(net.state_dict(), tmp_path / "net.pth")
    box = TimmBlackBox(TIMM["vit"].model, weights=str(tmp_path / "net.pth"), model_args=TIMM["vit"].args)
    assert {value.dtype for value in box.module.parameters()} == {torch.float32}


def test_state_dicts_inside_a_file(tmp_path):
    family = TIMM["vit"]
    state = timm_net(family).state_dict()
    torch.save(state, tmp_path / "bare.pth")
    torch.save({"net": state, "epoch": 3, "optimizer": {"state": {}, "lr": 0.1}}, tmp_path / "net.pth")
    bare, box = (
        TimmBlackBox(family.model, weights=str(tmp_path / f"{name}.pth"), model_args=family.args)
        for name in ("bare", "net")
    )
    inputs = torch.rand(2, 3, 32, 32)
    assert torch.equal(box(inputs), bare(inputs))
    torch.save({"net": state, "ema": state}, tmp_path / "two.pth")
    with pytest.raises(ValueError, match="holds several state dicts; its keys: net, ema"):
        TimmBlackBox(family.model, weights=str(tmp_path / "two.pth"), model_args=family.args)
    torch.save({"epoch": 3}, tmp_path / "none.pth")
    with pytest.raises(ValueError, match="holds no state dict; its keys: epoch"):
        TimmBlackBox(family.model, weights=str(tmp_path / "none.pth"), model_args=family.args)


def test_one_channel():
    box = TorchBlackBox(network(1), channels=1, num_classes=3, mean=0.4, std=[0.2])
    assert (box.mean, box.std) == ((0.4,) * 3, (0.2,) * 3)
    grey = torch.rand(2, 1, 8, 8)
    truth = network(1)((grey - 0.4) / 0.2).softmax(1)
    assert torch.allclose(box(grey.expand(-1, 3, -1, -1)), truth, atol=1e-5)
    with pytest.raises(ValueError, match="takes one channel, got mean"):
        TorchBlackBox(network(1), channels=1, num_classes=3)


def test_one_channel_of_timm_and_transformers(tmp_path):
    family = TIMM["vit"]
    net = timm_net(family, in_chans=1)
    torch.save(net.state_dict(), tmp_path / "net.pth")
    grey = torch.rand(2, 1, 32, 32)
    arguments = {**family.args, "in_chans": 1}
    box = TimmBlackBox(family.model, weights=str(tmp_path / "net.pth"), model_args=arguments, mean=0.5, std=0.25)
    with torch.no_grad():
        truth = net((grey - 0.5) / 0.25).softmax(1)
    assert torch.allclose(box(grey.expand(-1, 3, -1, -1)), truth, atol=1e-4)
    folder = save_transformers(TRANSFORMERS["vit"], tmp_path, num_channels=1)
    ViTImageProcessor(size={"height": 32, "width": 32}, image_mean=0.5, image_std=[0.25]).save_pretrained(folder)
    box = TransformersBlackBox(folder)
    net = ViTForImageClassification.from_pretrained(folder).eval()
    with torch.no_grad():
        truth = net((grey - 0.5) / 0.25).logits.softmax(1)
    assert torch.allclose(box(grey.expand(-1, 3, -1, -1)), truth, atol=1e-4)


def test_a_processor_that_does_not_resize(tmp_path):
    folder = save_transformers(TRANSFORMERS["vit"], tmp_path)
    ViTImageProcessor(do_resize=False).save_pretrained(folder)
    assert TransformersBlackBox(folder).preprocess.size == (32, 32)
    crop = {"do_resize": False, "do_center_crop": True, "crop_size": {"height": 8, "width": 8}}
    assert preprocess_of(crop) == Preprocess(8, 8, 0, "bilinear", corner="floor")


def test_a_processor_that_does_more_than_its_settings_say(tmp_path, monkeypatch):
    folder = save_transformers(TRANSFORMERS["vit"], tmp_path)
    before = ViTImageProcessor.preprocess
    monkeypatch.setattr(
        ViTImageProcessor,
        "preprocess",
        lambda self, images, **options: before(self, ImageOps.invert(images), **options),
    )
    with pytest.raises(ValueError, match="ViTImageProcessor. does more than its settings say"):
        TransformersBlackBox(folder)


@pytest.mark.parametrize(
    ("names", "message"),
    [("cat", "class_names='cat', expected a list"), ([True, False], "YAML reads yes, no"), ([None, "a"], "name None")],
)
def test_names_that_are_none(names, message):
    with pytest.raises(ValueError, match=message):
        CallableBlackBox(len, class_names=names)


def test_names():
    assert CallableBlackBox(len, class_names=[0, np.int64(1), "b"]).class_names == ["0", "1", "b"]
    assert names_of({1: "a", 2: "b"}, "net") == names_of({"0": "a", "1": "b"}, "net") == ["a", "b"]
    with pytest.raises(ValueError, match=r"ids \[0, 2\], expected 0 ... C - 1"):
        names_of({0: "a", 2: "b"}, "net")


def test_names_of_imagenet_are_not_guessed(tmp_path, monkeypatch):
    net = timm.create_model("test_resnet", num_classes=1000)
    torch.save(net.state_dict(), tmp_path / "net.pth")
    path = str(tmp_path / "net.pth")
    assert TimmBlackBox("test_resnet", weights=path).class_names[:2] == ["0", "1"]
    assert TimmBlackBox("test_resnet", weights=path, class_names="imagenet-1k").class_names[0] == "tench"
    monkeypatch.setattr("fex.black_box.timm.build_timm", lambda *_, **__: net)
    assert TimmBlackBox("test_resnet", pretrained=True).class_names[0] == "tench"
    assert TimmBlackBox("local-dir:x", pretrained=True).class_names[0] == "0"


def test_unknown_models_and_tags():
    with pytest.raises(ValueError, match="no model 'vit_tiny_patch16'. Closest .*: vit_tiny_patch16_224, "):
        TimmBlackBox("vit_tiny_patch16", pretrained=True)
    with pytest.raises(ValueError, match="no model 'resnet19'. Closest .*resnet18"):
        TimmBlackBox("resnet19", pretrained=True)
    with pytest.raises(ValueError, match="no weights 'nobody' of 'resnet18'. It knows: .*a1_in1k"):
        TimmBlackBox("resnet18.nobody", pretrained=True)


PROBABILITIES = torch.tensor([[0.1, 0.9], [0.8, 0.2]])


@pytest.mark.parametrize(
    ("target", "classes"),
    [("Dog", [1, 1]), (["dog", "cat"], [1, 0]), (np.int64(1), [1, 1]), ([0, 1], [0, 1]),
     (torch.tensor([1, 0], dtype=torch.uint8), [1, 0])],
)  # fmt: skip
def test_targets(target, classes):
    assert resolve_target(target, PROBABILITIES, ["cat", "dog"]).tolist() == classes


@pytest.mark.parametrize(
    "target",
    [
        3.7,
        1.0,
        True,
        [True, 0],
        torch.tensor([0.0, 1.0]),
        torch.tensor(True),
        np.array([0.5]),
        "owl",
        [np.True_, 1],
        torch.eye(2).long(),
        np.array([[0, 1]]),
        None,
    ],
)
def test_targets_that_are_none(target):
    with pytest.raises(ValueError, match="Got target|Unknown class"):
        resolve_target(target, PROBABILITIES, ["cat", "dog"]) if target is not None else class_indices(target)


def test_a_name_works_where_an_index_does():
    box = TorchBlackBox(network(), class_names=["a", "b", "c"], preprocess=Preprocess(8, 8))
    for method in (Saliency(box), RISE(box, PatchGrid(2, 2), num_masks=4)):
        assert torch.equal(method.attribute(INPUTS, "B"), method.attribute(INPUTS, 1))
        with pytest.raises(ValueError, match="Got target 1.5"):
            method.attribute(INPUTS, 1.5)
