"""A classifier with one score has two classes, whatever gives the score."""

import pytest
import timm
import torch
from torch import nn
from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

from fex.baselines import IntegratedGradients
from fex.black_box import CachedBlackBox, CallableBlackBox, TimmBlackBox, TorchBlackBox, TransformersBlackBox

INPUTS = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
PLAIN = {"mean": 0.0, "std": 1.0}


def logit(inputs):
    return 4 * (inputs.mean((1, 2, 3)) - 0.5)[:, None] + inputs[:, 0, 0, :1]


class Net(nn.Module):
    def forward(self, x):
        return logit(x)


def both(logits):
    p = logits.sigmoid()
    return torch.cat([1 - p, p], 1)


@pytest.mark.parametrize("multi_label", [False, True])
def test_a_network(multi_label):
    box = TorchBlackBox(Net(), num_classes=1, multi_label=multi_label, **PLAIN)
    assert (box.class_names, box.multi_label) == (["0", "1"], False)
    assert torch.allclose(box(INPUTS), both(logit(INPUTS)), atol=1e-6)
    logits = box.differentiable(INPUTS)
    assert torch.allclose(logits.softmax(1), box(INPUTS), atol=1e-6)
    assert (logits[:, 0] == 0).all()
    assert IntegratedGradients(box, steps=4).attribute(INPUTS, 1).abs().sum() > 0


@pytest.mark.parametrize(("shape", "kind"), [((-1, 1), "logits"), ((-1,), "logits"), ((-1, 1), "probabilities")])
@pytest.mark.parametrize("cached", [False, True])
def test_a_function(shape, kind, cached):
    def function(x):
        return (logit(x) if kind == "logits" else logit(x).sigmoid()).reshape(shape)

    box = CallableBlackBox(function, num_classes=1, outputs=kind)
    box = CachedBlackBox(box) if cached else box
    for _ in range(2):
        assert torch.allclose(box(INPUTS), both(logit(INPUTS)), atol=1e-6)
    assert torch.allclose(box(INPUTS[:1]), both(logit(INPUTS[:1])), atol=1e-6)


def test_what_is_no_probability():
    with pytest.raises(ValueError, match="returned values in .*expected probabilities"):
        CallableBlackBox(lambda x: 10 * torch.ones(len(x), 1), num_classes=1)(INPUTS)


@pytest.mark.parametrize(
    ("given", "names"), [(["cat"], ["not cat", "cat"]), (["dog", "cat"], ["dog", "cat"]), (None, ["0", "1"])]
)
def test_names(given, names):
    assert TorchBlackBox(Net(), num_classes=1, class_names=given).class_names == names
    with pytest.raises(ValueError, match="3 class_names for a classifier with one score"):
        TorchBlackBox(Net(), num_classes=1, class_names=["a", "b", "c"])
    if given:
        box = TorchBlackBox(Net(), class_names=given, **PLAIN)
        assert box.class_names == names
        assert torch.allclose(box(INPUTS), both(logit(INPUTS)), atol=1e-6)


def test_timm(tmp_path):
    net = timm.create_model("test_resnet", num_classes=1).eval()
    torch.save(net.state_dict(), tmp_path / "net.pth")
    box = TimmBlackBox("test_resnet", weights=str(tmp_path / "net.pth"), class_names=["crack"])
    assert box.class_names == ["not crack", "crack"]
    inputs = torch.rand(2, 3, 32, 32)
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (box.mean, box.std))
    with torch.no_grad():
        assert torch.allclose(box(inputs), both(net((inputs - mean) / std)), atol=1e-5)


def vit(folder, **settings):
    size = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    net = ViTForImageClassification(ViTConfig(**size, image_size=8, patch_size=4, **settings)).eval()
    net.save_pretrained(folder)
    ViTImageProcessor(size={"height": 8, "width": 8}).save_pretrained(folder)
    return net


def test_transformers(tmp_path):
    net = vit(tmp_path, num_labels=1)
    box = TransformersBlackBox(str(tmp_path), class_names=["no", "yes"])
    assert box.class_names == ["no", "yes"]
    with torch.no_grad():
        assert torch.allclose(box(INPUTS), both(net((INPUTS - 0.5) / 0.5).logits), atol=1e-5)


def test_regression_is_refused_by_name(tmp_path):
    vit(tmp_path / "age", num_labels=1, problem_type="regression")
    with pytest.raises(ValueError, match="age' is a regression model"):
        TransformersBlackBox(str(tmp_path / "age"))
