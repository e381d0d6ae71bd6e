"""Mistyped keywords: which, what was probably meant, and what there is."""

import pytest
from torch import nn

import fex
from fex.black_box import TorchBlackBox
from fex.class_names import class_index
from fex.keywords import beside, keywords_of
from fex.storage.resources import config_path

SIZE = {"height": 8, "width": 8}
NET = nn.Sequential(nn.Flatten(), nn.Linear(192, 2))


@pytest.mark.parametrize(
    "box", [NET, lambda x: x.mean((2, 3)), "resnet18", "vit_scenes", "http://localhost:1/a", "a.b:c"]
)
def test_a_mistyped_keyword_of_a_box(box):
    with pytest.raises(
        TypeError, match=r"load_black_box \(here a \w+\) takes no 'class_nmes'; did you mean class_names"
    ) as error:
        fex.load_black_box(box, class_nmes=["a", "b"], preprocess=SIZE)
    assert "It takes " in str(error.value)
    assert "__init__" not in str(error.value)


def test_one_that_is_like_none_gets_the_list():
    with pytest.raises(TypeError, match=r"takes no 'xyz'\. It takes .*class_names.*std"):
        fex.load_black_box(NET, xyz=1)
    with pytest.raises(TypeError, match="has its 'module' already"):
        fex.load_black_box(NET, module=NET)
    with pytest.raises(TypeError, match="has its 'weights' already"):
        fex.load_black_box("vit_scenes", weights="vit_scenes")


def test_a_mistyped_keyword_of_a_training(tmp_path):
    box = fex.load_black_box(lambda x: x.mean((2, 3)), num_classes=3, preprocess=SIZE)
    with pytest.raises(
        TypeError, match=r"fex.train takes no 'epoch'; did you mean epochs.* It takes .*accelerator"
    ) as error:
        fex.train(box, str(tmp_path), epoch=3)
    assert "Trainer" not in str(error.value)


def test_keywords_of_a_class_are_its_bases_too():
    assert {"module", "class_names", "multi_label"} <= {*keywords_of(TorchBlackBox)}
    assert "self" not in keywords_of(TorchBlackBox)


def test_a_mistyped_name_of_a_box_or_file(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="Found no black box 'resnet5'; did you mean resnet50"):
        fex.load_black_box("resnet5")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").touch()
    (tmp_path / "other.onnx").touch()
    with pytest.raises(ValueError, match="did you mean other.onnx"):
        fex.load_black_box("othr.onx")
    with pytest.raises(FileNotFoundError, match="Found no config 'mine.yam'; did you mean mine.yaml"):
        config_path("mine.yam")
    assert beside("nowhere/x.yaml", (".yaml",)) == []


@pytest.mark.parametrize("target", ["1.5", "1e3", "-0.5", " 2.0 "])
def test_a_class_is_a_name_or_a_whole_number(target):
    with pytest.raises(ValueError, match=r"a class is a name or a whole number, 0 \.\.\. 1"):
        class_index(target, ["cat", "dog"])
    assert class_index(target, ["cat", target.strip()]) == 1
