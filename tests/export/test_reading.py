"""Files of fex-export explain as an explainer does, whatever wrote them; others are refused, and nothing is run."""

import json
import sys

import numpy as np
import pytest
import torch
from PIL import Image

import fex
from fex.baselines import Random
from fex.cli.explain import main as explain
from fex.cli.export import main
from fex.explainers import build_explainer, read_explainer
from fex.export import export
from tests.explainers.tiny import tiny_box, tiny_explainer
from tests.export.by_hand import CLASSES, META, write_by_hand


@pytest.fixture
def path(tmp_path):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    return write_by_hand(tmp_path / "explainer.onnx")


def expected(inputs, classes):
    quarters = torch.nn.functional.avg_pool2d(inputs, 8).flatten(2)
    return torch.stack([quarters[row, chosen] for row, chosen in enumerate(classes)])


def test_it_explains_as_an_explainer(path):
    explainer, inputs = fex.load_explainer(path), torch.rand(5, 3, 16, 16)
    probabilities = inputs.mean((2, 3)).softmax(1)
    for target, top_k, classes in (
        (None, 1, probabilities.argsort(1, descending=True)[:, :1]),
        (None, 3, probabilities.argsort(1, descending=True)),
        ("green", 1, torch.ones(5, 1, dtype=torch.int64)),
        ([[0, 2]] * 5, 1, torch.tensor([[0, 2]]).expand(5, -1)),
    ):
        values, chosen, own = explainer.explain_classes(inputs, target, top_k)
        assert chosen.equal(classes)
        torch.testing.assert_close(values, expected(inputs, classes))
        torch.testing.assert_close(own, probabilities)
    torch.testing.assert_close(explainer.predict(inputs), probabilities)
    assert explainer.attribute(inputs).shape == (5, 16, 16)
    assert explainer.explain_classes(inputs[:0])[0].shape == (0, 1, 4)
    assert (explainer.class_names, explainer.features.grid, explainer.source) == (CLASSES, (2, 2), str(path))


def test_each_instance_may_have_a_class_of_its_own(path):
    explainer, inputs = fex.load_explainer(path), torch.rand(3, 3, 16, 16)
    found = explainer.explain(inputs, ["blue", None, 0])
    assert [each.target for each in found] == [2, int(inputs[1].mean((1, 2)).argmax()), 0]
    assert [each.chosen_by for each in found] == ["user", "explainer", "user"]
    alone = [explainer.explain(inputs[i], each.target)[0] for i, each in enumerate(found)]
    assert all(one.scores.equal(other.scores) for one, other in zip(found, alone, strict=True))
    with pytest.raises(ValueError, match="2 targets for 3 instances"):
        explainer.explain(inputs, ["blue", None])
    with pytest.raises(ValueError, match="give one of the two"):
        explainer.explain(inputs, ["blue", None, 0], top_k=2)


def test_the_command_line_explains_by_it(path, tmp_path, monkeypatch):
    monkeypatch.setattr("fex.explainers.loading.rebuild", None)  # no network is built
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (30, 20, 3), np.uint8)).save(tmp_path / "a.png")
    command = [str(path), str(tmp_path / "a.png"), "--output", str(tmp_path / "out"), "--top-k", "2"]
    assert explain(command) == 0
    assert explain([*command, "--resume"]) == 0
    assert json.loads((tmp_path / "out" / "a.png.top2.json").read_text())["method"] == "FEX"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"format": None}, "was not written by fex-export"),
        ({"kind": '"explainer"'}, "not that of an exported explainer"),
        ({"class_names": '["a"]'}, "not of its description"),
        ({"class_names": "[1]"}, "not a list of names"),
        ({"grid": "[0, 4]"}, "grid has the size"),
        ({"grid": None}, "damaged"),
        ({"modality": '"smell"'}, "not known here"),
        ({"preprocess": "{"}, "is no JSON"),
        ({"preprocess": '{"height": 8, "width": 8}'}, "does not run on inputs"),
    ],
)
def test_changed_descriptions_are_refused(path, change, reason):
    write_by_hand(path, **change)

    def ask():
        explainer = fex.load_explainer(path)
        explainer.predict(torch.rand(2, 3, *explainer.preprocess.size))

    with pytest.raises(ValueError, match=reason):
        ask()


def test_foreign_and_cut_files_are_refused(path, tmp_path):
    (tmp_path / "cut.onnx").write_bytes(path.read_bytes()[:500])
    with pytest.raises(ValueError, match="onnxruntime cannot open"):
        fex.load_explainer(tmp_path / "cut.onnx")
    (tmp_path / "a.pt2").write_bytes(b"")
    with pytest.raises(ValueError, match=r"may run code of the file, so fex does not read them"):
        fex.load_explainer(tmp_path / "a.pt2")
    for name in ("none.onnx", "none.xml"):
        with pytest.raises(FileNotFoundError, match="no exported explainer"):
            fex.load_explainer(tmp_path / name)
    files, meta = read_explainer(path)
    other = build_explainer(files, {**meta, "class_names": ["a", "b", "c", "d"]}, source="x")
    with pytest.raises(ValueError, match="not of its description"):
        other.predict(torch.rand(1, 3, 16, 16))


def test_what_cannot_be_exported_is_told(path, tmp_path, capsys, monkeypatch):
    for explainer in (Random(tiny_box()), fex.load_explainer(path)):
        with pytest.raises(TypeError, match=r"cannot be exported: only trained explainers"):
            export(explainer, tmp_path / "a.onnx")
    with pytest.raises(ValueError, match=r"end the name in one of .onnx, .xml, .pt2"):
        export(tiny_explainer(), tmp_path / "a.tflite")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ImportError, match=r'pip install "fex-explain\[onnx\]"'):
        fex.load_explainer(path)
    assert main(["vit_cifar10", str(tmp_path / "a.onnx")]) == 2
    assert "expected an explainer" in capsys.readouterr().err
    assert META["kind"] == "export"
