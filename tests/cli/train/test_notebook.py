"""`fex.train`: the run of a config in one call."""

import pytest
import timm
import torch
from PIL import Image
from torch.utils.data import DataLoader, TensorDataset

import fex
from fex.explainers import AmortizedTextExplainer
from tests.families import TRANSFORMERS, blobs, save_transformers
from tests.texts.tiny import sentences, text_folder

QUICK = {"epochs": 1, "batch_size": 4, "max_steps": 2, "accelerator": "cpu", "enable_progress_bar": False}


@pytest.fixture(autouse=True)
def inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def box():
    torch.manual_seed(0)
    net = timm.create_model("test_resnet", num_classes=3).eval()
    geometry = {"height": 64, "width": 64}
    return fex.load_black_box(net, class_names=["a", "b", "c"], preprocess=geometry)


def test_a_folder_and_what_it_leaves(box, tmp_path):
    (tmp_path / "photos").mkdir()
    for index, pixels in enumerate(blobs(8, 64)):
        picture = Image.fromarray((pixels * 255).byte().permute(1, 2, 0).numpy())
        picture.save(tmp_path / "photos" / f"{index}.png")
    explainer = fex.train(box, "photos", grid=4, **QUICK)
    assert (tmp_path / "runs" / "explainer" / "checkpoints" / "last.ckpt").is_file()
    assert explainer.explain("photos/0.png")[0].attribution.shape == (16,)
    assert explainer.class_names == ["a", "b", "c"]
    assert "Pyramid" in explainer.meta["net"]["encoder"]["class_path"]  # the box's own network, with its classifier
    assert explainer.meta["net"]["encoder"]["init_args"]["class_head"]


def test_it_is_deterministic_and_writes_over_nothing_unasked(box):
    pictures = blobs(8, 64)
    one, again = (fex.train(box, pictures, name=name, grid=4, **QUICK) for name in ("one", "again"))
    torch.testing.assert_close(one.attribute(pictures), again.attribute(pictures))
    with pytest.raises(FileExistsError, match="holds an earlier run"):
        fex.train(box, pictures, name="one", grid=4, **QUICK)


def test_a_transformers_network_and_a_function(tmp_path):
    folder = save_transformers(TRANSFORMERS["vit"], tmp_path / "vit")
    explainer = fex.train(folder, blobs(8, 32), name="vit", **QUICK)
    assert explainer.meta["net"]["encoder"]["class_path"] == "fex.nets.TransformersEncoder"
    assert explainer.meta["grid"] == [4, 4]
    function = fex.load_black_box(
        lambda x: x.mean((2, 3)).softmax(1), num_classes=3, preprocess={"height": 32, "width": 32}
    )
    explainer = fex.train(function, blobs(8, 32), name="function", **QUICK)
    assert explainer.features.num_features == 64


def test_texts(tmp_path):
    explainer = fex.train(text_folder(tmp_path / "text"), sentences(12), name="texts", **QUICK)
    assert isinstance(explainer, AmortizedTextExplainer)
    assert explainer.explain("a gem of a film")


def test_data_that_does_not_fit_is_refused(box):
    with pytest.raises(ValueError, match=r"expected \(3, 64, 64\)"):
        fex.train(box, blobs(8, 32), **QUICK)
    with pytest.raises(ValueError, match="takes pictures in|expected RGB in"):
        fex.train(box, blobs(8, 64) * 4 - 2, **QUICK)
    with pytest.raises(ValueError, match="less than a batch of 4"):
        fex.train(box, blobs(2, 64), **QUICK)
    with pytest.raises(TypeError, match="collate_fn of its own"):
        fex.train(box, DataLoader(TensorDataset(blobs(8, 64)), collate_fn=torch.stack), **QUICK)
    with pytest.raises(FileNotFoundError, match="nothing at"):
        fex.train(box, "nowhere", **QUICK)
