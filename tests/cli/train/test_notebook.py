"""`fex.train`: the run of a config in one call."""

import pytest
import timm
import torch
from lightning.pytorch.loggers import CSVLogger
from PIL import Image
from torch.utils.data import DataLoader, TensorDataset

import fex
from fex.explainers import AmortizedTextExplainer
from fex.explainers.encoder_choice import choose_encoder, grid_of
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


def test_the_run_is_kept_in_its_folder_whatever_the_logger(box, tmp_path):
    for name, logger in (("none", False), ("own", CSVLogger("elsewhere"))):
        assert fex.train(box, blobs(8, 64), name=name, grid=4, logger=logger, **QUICK).class_names == ["a", "b", "c"]
        assert (tmp_path / "runs" / name / "checkpoints" / "last.ckpt").is_file()
    assert not (tmp_path / "checkpoints").exists()
    assert not list((tmp_path / "elsewhere").rglob("*.ckpt"))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"fast_dev_run": True}, "Got fast_dev_run=True, with which no checkpoint is written"),
        ({"enable_checkpointing": False}, "Got enable_checkpointing=False, with which"),
        ({"name": "../esc"}, r"Got name='\.\./esc', expected the name of a folder in runs/"),
        ({"name": "a/b"}, "expected the name of a folder"),
        ({"name": ".."}, "expected the name of a folder"),
    ],
)
def test_what_would_leave_no_explainer_is_refused_before_anything_is_trained(box, given, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        fex.train(box, blobs(8, 64), grid=4, **{**QUICK, **given})
    assert list(tmp_path.iterdir()) == []


def test_a_training_of_no_step_is_told(box):
    with pytest.raises(ValueError, match="No step was trained"):
        fex.train(box, blobs(8, 64), grid=4, **{**QUICK, "max_steps": 0})


def test_a_box_of_an_address_takes_its_geometry_as_a_mapping():
    box = fex.load_black_box("http://localhost:9/", num_classes=10, preprocess={"height": 32, "width": 32})
    choice = choose_encoder(box, None, 40)
    assert choice.init_args["model_args"]["img_size"] == 32
    assert grid_of(box, choice.encoder, 40) == (8, 8)
