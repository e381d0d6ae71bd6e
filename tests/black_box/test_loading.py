import hashlib
import json

import pytest
import timm
import torch
import yaml
from torch import nn
from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

import fex
from fex.black_box import CallableBlackBox, HttpBlackBox, OnnxBlackBox, TimmBlackBox, TransformersBlackBox, loading
from fex.storage.resources import manifest
from fex.storage.weights import save_black_box

ARGS = {"depth": 1, "embed_dim": 16, "num_classes": 3}
META = {
    "model": "conv_vit_tiny",
    "model_args": ARGS,
    "class_names": ["a", "b", "c"],
    "preprocess": {"height": 32, "width": 32},
    "mean": [0.1, 0.2, 0.3],
    "std": [0.4, 0.5, 0.6],
}
INPUTS = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def weights(tmp_path):
    save_black_box(tmp_path / "box.safetensors", timm.create_model("conv_vit_tiny", **ARGS), META)
    return tmp_path / "box.safetensors"


@pytest.fixture
def shipped(weights, monkeypatch):
    """A manifest with a black box and an explainer."""
    entry = {"kind": "black_box", "file": weights.name, "sha256": hashlib.sha256(weights.read_bytes()).hexdigest()}
    entries = {"toy_box": entry, "toy_fex": {**entry, "kind": "explainer"}}
    (weights.parent / "manifest.yaml").write_text(yaml.safe_dump(entries))
    # The folder, not the function that reads it: a module that is first imported meanwhile would keep a patched one.
    monkeypatch.setattr("fex.storage.resources.resource_dir", lambda name: weights.parent)
    manifest.cache_clear()
    yield entry
    manifest.cache_clear()


def test_shipped_name(shipped):
    box = fex.load_black_box("toy_box", chunk=7)
    assert isinstance(box, TimmBlackBox)
    assert (box.class_names, box.chunk, box.name) == (["a", "b", "c"], 7, "toy_box")
    assert box(INPUTS).shape == (2, 3)


def test_shipped_file_that_was_changed(shipped, weights):
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(ValueError, match="has sha256 .*reinstall"):
        fex.load_black_box("toy_box")


def test_shipped_explainer(shipped):
    with pytest.raises(
        ValueError, match="'toy_fex' is shipped, but is of kind 'explainer', no black box: use load_explainer"
    ):
        fex.load_black_box("toy_fex")


def test_weights_file(weights):
    assert isinstance(fex.load_black_box(weights), TimmBlackBox)
    net = timm.create_model("conv_vit_tiny", **ARGS)
    torch.save(net.state_dict(), weights.with_suffix(".pth"))
    box = fex.load_black_box(weights.with_suffix(".pth"), model="conv_vit_tiny", model_args=ARGS)
    assert box.num_classes == 3


def test_onnx_file(tmp_path):
    net = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    torch.onnx.export(net, (torch.zeros(2, 3, 8, 8),), str(tmp_path / "x.onnx"), dynamo=True, verbose=False)
    box = fex.load_black_box(tmp_path / "x.onnx", outputs="logits")
    assert isinstance(box, OnnxBlackBox)
    assert box.num_classes == 3


def test_transformers_folder(tmp_path):
    config = ViTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, image_size=32, patch_size=8
    )
    ViTForImageClassification(config).save_pretrained(tmp_path)
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(tmp_path)
    box = fex.load_black_box(tmp_path)
    assert isinstance(box, TransformersBlackBox)
    assert box(INPUTS).shape == (2, 2)


def test_timm_folder(tmp_path):
    arguments = {"num_classes": 3, "img_size": 32, "depth": 1}
    net = timm.create_model("vit_tiny_patch16_224", **arguments)
    timm.models.save_for_hf(net, tmp_path, model_args={"img_size": 32, "depth": 1})
    assert json.loads((tmp_path / "config.json").read_text())["architecture"] == "vit_tiny_patch16_224"
    box = fex.load_black_box(tmp_path)
    assert isinstance(box, TimmBlackBox)
    mean, std = (torch.tensor(value).view(1, 3, 1, 1) for value in (box.mean, box.std))
    with torch.no_grad():
        assert torch.allclose(box(INPUTS), net.eval()((INPUTS - mean) / std).softmax(1), atol=1e-5)
    assert box.preprocess.size == (32, 32)


def test_address():
    box = fex.load_black_box("https://example.org/classify.onnx", num_classes=3, timeout=1.0)
    assert isinstance(box, HttpBlackBox)
    assert (box.url, box.endpoint.timeout) == ("https://example.org/classify.onnx", 1.0)


def test_function():
    box = fex.load_black_box("tests.black_box.functions:brightness", num_classes=2)
    assert isinstance(box, CallableBlackBox)
    assert box(INPUTS).shape == (2, 2)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet18", "pretrained weights of 'resnet18'"),
        ("vit_tiny_patch16_224.augreg_in21k", "pretrained weights of 'vit_tiny"),
        ("timm/resnet18.a1_in1k", "pretrained weights of 'hf-hub:timm/resnet18"),
        ("hf-hub:timm/resnet18.a1_in1k", "pretrained weights of 'hf-hub:timm/resnet18"),
        ("microsoft/resnet-50", "Could not get 'microsoft/resnet-50' from the hub"),
    ],
)
def test_names_of_hubs_reach_their_library(name, message):
    with pytest.raises(OSError, match=message):
        fex.load_black_box(name)


@pytest.mark.parametrize("name", ["missing.onnx", "folder/missing.safetensors"])
def test_missing_files(name):
    with pytest.raises(FileNotFoundError, match="missing"):
        fex.load_black_box(name)


@pytest.mark.parametrize("name", ["no_such_thing", "ftp://host/x", "", "a/b/c"])
def test_unknown_name_lists_what_is_taken(name, shipped):
    with pytest.raises(ValueError, match="Found no black box") as caught:
        fex.load_black_box(name)
    assert all(kind.label in str(caught.value) for kind in loading.KINDS)
    assert "Shipped names: toy_box." in str(caught.value)


def test_ambiguous_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "resnet18").mkdir()
    (tmp_path / "resnet18" / "config.json").write_text('{"model_type": "vit"}')
    with pytest.raises(ValueError, match="'resnet18' is ambiguous: a folder of a transformers .* and a timm name"):
        fex.load_black_box("resnet18")
    with pytest.raises(OSError, match="no folder of a transformers model"):
        fex.load_black_box("./resnet18")


def test_unknown_option(weights):
    with pytest.raises(TypeError, match="takes no 'chunks'; did you mean chunk"):
        fex.load_black_box(weights, chunks=3)
