"""Files of explainers that leave out a backbone which everybody can get."""

from importlib.util import find_spec

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from fex.explainers import export_explainer, load_explainer, load_start
from fex.hub import model_card
from fex.images import PatchGrid
from fex.interop import ExplainBatch
from fex.nets import ExplainerNet, ViTEncoder
from fex.storage.weights import load_weights

SMALL = {"img_size": 32, "embed_dim": 16, "depth": 2, "num_heads": 2, "num_classes": 5}
MODEL = "vit_tiny_patch16_224"


@pytest.fixture(params=[{"frozen": True, "direct_layers": 1}, {"lora_rank": 2}], ids=["frozen", "adapters"])
def trained(request, tmp_path):
    """A trained net, its checkpoint, and the file of its backbone in half precision."""
    torch.manual_seed(0)
    encoder = ViTEncoder(MODEL, model_args=SMALL, class_head=True, **request.param)
    net = ExplainerNet(encoder, hidden=8).build(5, PatchGrid(2, 2)).eval()
    backbone = {
        name.replace(".base_layer.", "."): tensor.half().contiguous()
        for name, tensor in encoder.net.state_dict().items()
        if ".lora_" not in name
    }
    for name, parameter in net.named_parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.1)
            assert name.startswith("encoder.net.") == ("lora" in name)
    meta = {
        "kind": "explainer", "method": "FEX", "net": net.init_args, "modality": "image", "grid": [2, 2],
        "class_names": list("abcde"), "multi_label": False, "preprocess": {"height": 32, "width": 32},
        "black_box": "box", "removal": "mean", "adapter_args": None,
    }  # fmt: skip
    weights = {f"explainer.{name}": tensor for name, tensor in net.state_dict().items()}
    torch.save({"state_dict": weights, "fex": meta}, tmp_path / "last.ckpt")
    save_file(backbone, tmp_path / "backbone.safetensors")
    return net, tmp_path


def test_such_a_file_is_small_and_explains_alike(trained):
    net, folder = trained
    export_explainer(folder / "last.ckpt", folder / "small.safetensors", without_backbone=True)
    tensors, _ = load_weights(folder / "small.safetensors")
    assert not any(name.startswith("encoder.net.") and ".lora_" not in name for name in tensors)
    explainer = load_explainer(folder / "small.safetensors", backbone=folder / "backbone.safetensors")
    inputs = torch.rand(2, 3, 32, 32)
    whole = load_explainer(folder / "last.ckpt")
    expected = net.explain(inputs, torch.tensor([1, 2]))[0]
    assert torch.allclose(whole.attribute_features(inputs, torch.tensor([1, 2])), expected, atol=1e-5)
    assert torch.allclose(explainer.attribute_features(inputs, torch.tensor([1, 2])), expected, atol=5e-3)
    start = load_start(folder / "small.safetensors", backbone=folder / "backbone.safetensors")
    assert start.attribute_features(inputs, 1).shape == (2, 4)


def test_other_weights_are_refused(trained):
    _, folder = trained
    export_explainer(folder / "last.ckpt", folder / "small.safetensors", without_backbone=True)
    torch.manual_seed(1)
    other = ViTEncoder(MODEL, model_args=SMALL, class_head=True).net.state_dict()
    save_file({name: 1.1 * tensor for name, tensor in other.items()}, folder / "other.safetensors")
    with pytest.raises(ValueError, match="trained on other weights of 'vit_tiny_patch16_224'"):
        load_explainer(folder / "small.safetensors", backbone=folder / "other.safetensors")


def test_without_the_hub_it_says_what_to_give(trained, monkeypatch):
    def unreachable(*_, pretrained=False, **__):
        assert pretrained
        raise OSError("no network")

    _, folder = trained
    export_explainer(folder / "last.ckpt", folder / "small.safetensors", without_backbone=True)
    monkeypatch.setattr("fex.nets.trunk.load_backbone", unreachable)
    with pytest.raises(OSError, match="--backbone FILE"):
        load_explainer(folder / "small.safetensors")


def test_a_whole_file_takes_no_backbone(trained):
    _, folder = trained
    with pytest.raises(ValueError, match="holds all its weights"):
        load_explainer(folder / "last.ckpt", backbone=folder / "backbone.safetensors")


def test_whoever_loads_such_a_file_takes_its_backbone(trained):
    """By the library, a server and its workers, a page, a cluster's workers; and the card says that it is missing."""
    _, folder = trained
    path, backbone = folder / "small.safetensors", str(folder / "backbone.safetensors")
    export_explainer(folder / "last.ckpt", path, without_backbone=True)
    meta = load_explainer(path, backbone).meta
    assert "timm's vit_tiny_patch16_224, whose weights are not in the file" in model_card(meta, "me/mine", digest="0")
    rows = ExplainBatch(path, "image", threads=1, backbone=backbone)({"image": [np.zeros((8, 8, 3), np.uint8)]})
    assert rows["error"].to_pylist() == [None]
    if find_spec("gradio"):
        from fex.cli.demo import run

        run([str(path), "--backbone", backbone, "--compare", str(folder / "last.ckpt")])
    if find_spec("litserve") and find_spec("python_multipart"):
        from fex.serve.server import make_server
        from fex.serve.worker import ExplainAPI

        assert make_server(str(path), device="cpu", backbone=backbone).app.state.desk.class_names == list("abcde")
        threads = torch.get_num_threads()
        api = ExplainAPI(str(path), threads=threads, backbone=backbone)
        api.setup("cpu")
        assert api.explainer.class_names == list("abcde")
