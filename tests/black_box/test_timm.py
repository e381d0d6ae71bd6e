import copy
import os
import pickle

import pytest
import timm
import torch
from safetensors.torch import save_file

from fex.black_box import TimmBlackBox
from fex.images import Preprocess
from fex.storage.weights import save_black_box, save_weights

MODEL, ARGS = "conv_vit_tiny", {"depth": 1, "embed_dim": 16, "num_classes": 3}
META = {
    "model": MODEL,
    "model_args": ARGS,
    "class_names": ["a", "b", "c"],
    "preprocess": {"height": 32, "width": 32},
    "mean": [0.1, 0.2, 0.3],
    "std": [0.4, 0.5, 0.6],
}


@pytest.fixture
def net():
    net = timm.create_model(MODEL, **ARGS).eval()
    for parameter in net.parameters():  # exactly representable in bfloat16
        parameter.data = parameter.data.bfloat16().float()
    return net


def truth(net, inputs):
    mean, std = (torch.tensor(META[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
    with torch.no_grad():
        return net((inputs - mean) / std).softmax(1)


def test_file_of_this_project_needs_no_settings(net, tmp_path):
    save_black_box(tmp_path / "box.safetensors", net, META)
    box = TimmBlackBox(weights=str(tmp_path / "box.safetensors"))
    inputs = torch.rand(2, 3, 32, 32)
    assert torch.allclose(box(inputs), truth(net, inputs), atol=1e-5)
    assert (box.class_names, box.name, box.preprocess) == (["a", "b", "c"], "box", Preprocess(32, 32))
    with pytest.raises(ValueError, match="own names in another order"):
        TimmBlackBox(weights=str(tmp_path / "box.safetensors"), class_names=["c", "b", "a"])


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_files_of_others_need_the_model(net, tmp_path, suffix):
    path = tmp_path / f"other{suffix}"
    state = {name: value.clone() for name, value in net.state_dict().items()}
    torch.save(state, path) if suffix == ".pth" else save_file(state, path)
    with pytest.raises(ValueError, match="needs `model`, a timm name"):
        TimmBlackBox(weights=str(path))
    box = TimmBlackBox(MODEL, weights=str(path), model_args=ARGS, mean=META["mean"], std=META["std"])
    inputs = torch.rand(2, 3, 32, 32)
    assert torch.allclose(box(inputs), truth(net, inputs), atol=1e-5)
    assert box.class_names == ["0", "1", "2"]


@pytest.mark.parametrize("class_names", [None, ["cat", "dog", "owl"]])
def test_the_head_is_as_large_as_that_of_the_weights(tmp_path, class_names):
    net = timm.create_model("resnet10t", num_classes=3).eval()
    torch.save(net.state_dict(), tmp_path / "mine.pth")
    box = TimmBlackBox("resnet10t", weights=str(tmp_path / "mine.pth"), class_names=class_names)
    assert box.class_names == (class_names or ["0", "1", "2"])
    assert box.model_args == {"num_classes": 3}
    mean, std = (
        torch.tensor(timm.data.resolve_model_data_config(net)[key]).view(1, 3, 1, 1) for key in ("mean", "std")
    )
    inputs = torch.rand(2, 3, *box.preprocess.size)
    with torch.no_grad():
        assert torch.allclose(box(inputs), net((inputs - mean) / std).softmax(1), atol=1e-5)
    with pytest.raises(ValueError, match="2 class_names and num_classes=3"):
        TimmBlackBox("resnet10t", weights=str(tmp_path / "mine.pth"), class_names=["cat", "dog"])


def test_names_that_differ_from_timms(net, tmp_path):
    torch.save({f"ported.{name}": value for name, value in net.state_dict().items()}, tmp_path / "port.pth")
    box = TimmBlackBox(MODEL, weights=str(tmp_path / "port.pth"), model_args=ARGS, mean=META["mean"], std=META["std"])
    inputs = torch.rand(2, 3, 32, 32)
    assert torch.allclose(box(inputs), truth(net, inputs), atol=1e-5)


def test_tampered_file_runs_nothing(tmp_path):
    mark = tmp_path / "ran"

    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(mark),)

    torch.save({"weight": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(ValueError, match="could run code"):
        TimmBlackBox(MODEL, weights=str(tmp_path / "evil.pth"))
    assert not mark.exists()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_truncated_file(net, tmp_path, suffix):
    path = tmp_path / f"cut{suffix}"
    state = {name: value.clone() for name, value in net.state_dict().items()}
    torch.save(state, path) if suffix == ".pth" else save_file(state, path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match=f"Could not read weights from .*cut{suffix}"):
        TimmBlackBox(MODEL, weights=str(path), model_args=ARGS)


def test_weights_of_another_model(net, tmp_path):
    save_black_box(tmp_path / "box.safetensors", net, META)
    with pytest.raises(ValueError, match="do not fit VisionTransformer: .*differ in shape"):
        TimmBlackBox(weights=str(tmp_path / "box.safetensors"), model_args={"embed_dim": 32})


def test_weights_of_an_explainer(net, tmp_path):
    save_weights(tmp_path / "explainer.safetensors", net.state_dict(), {**META, "kind": "explainer"})
    with pytest.raises(ValueError, match="of kind 'explainer', expected a black box"):
        TimmBlackBox(weights=str(tmp_path / "explainer.safetensors"))


def test_wrong_number_of_names(net, tmp_path):
    save_black_box(tmp_path / "box.safetensors", net, META)
    with pytest.raises(ValueError, match="2 class_names and num_classes=3"):
        TimmBlackBox(weights=str(tmp_path / "box.safetensors"), class_names=["a", "b"])


def test_missing_file_unknown_model_no_weights():
    with pytest.raises(FileNotFoundError, match="no weights at nowhere.pth"):
        TimmBlackBox(MODEL, weights="nowhere.pth")
    with pytest.raises(ValueError, match="timm knows no model 'resnet_of_nobody'. Closest of those it knows: .*resnet"):
        TimmBlackBox("resnet_of_nobody", pretrained=True)
    with pytest.raises(ValueError, match="has no weights: set `weights`"):
        TimmBlackBox(MODEL)


def test_unreachable_hub():
    with pytest.raises(OSError, match="pretrained weights of 'resnet18'.*set `weights` to a local file"):
        TimmBlackBox("resnet18", pretrained=True)


def test_image_size_of_the_arguments_wins(tmp_path):
    arguments = {"img_size": 64, "depth": 1, "num_classes": 3}
    torch.save(timm.create_model("vit_tiny_patch16_224", **arguments).state_dict(), tmp_path / "vit.pth")
    box = TimmBlackBox("vit_tiny_patch16_224", weights=str(tmp_path / "vit.pth"), model_args=arguments)
    assert box.preprocess.size == (64, 64)
    assert box(torch.rand(1, 3, 64, 64)).shape == (1, 3)


def test_headless_model(tmp_path):
    arguments = {"depth": 1, "num_classes": 0}
    torch.save(timm.create_model(MODEL, **arguments).state_dict(), tmp_path / "net.pth")
    with pytest.raises(ValueError, match="no classifier head"):
        TimmBlackBox(MODEL, weights=str(tmp_path / "net.pth"), model_args=arguments)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda box: pickle.loads(pickle.dumps(box))])
def test_copies(net, tmp_path, copied):
    save_black_box(tmp_path / "box.safetensors", net, META)
    box = TimmBlackBox(weights=str(tmp_path / "box.safetensors"), channels_last=True)
    inputs = torch.rand(2, 3, 32, 32)
    assert torch.equal(copied(box)(inputs), box(inputs))
