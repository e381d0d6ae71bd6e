"""Exports answer as their network does, say all that a reader needs, and are read without running anything."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import fex
from fex.baselines import Random
from fex.cli.explain import main as explain
from fex.cli.export import main
from fex.explainers import build_explainer
from fex.export import export, read_export
from tests.explainers.tiny import CLASSES, tiny_box, tiny_explainer, write_checkpoint

SHIPPED = ("fex_vit_cifar10", "fex_efficientnet_lite0", "fex_minilm_sst2")
TEXTS = ["a gripping, funny film about the world", "no", "two words", "x " * 40, "bad"]


def answers_alike(explainer, path, inputs, most=1e-5):
    """For another batch, one class, several and all."""
    files, meta = read_export(path)
    again = build_explainer(files, meta, source=str(path))
    every = list(range(len(explainer.class_names)))[:12]
    for target, top_k in ((None, 1), (None, 2), (1, 1), ([every] * len(inputs), 1)):
        target = torch.tensor(target) if isinstance(target, list) else target
        found, expected = (each.explain_classes(inputs, target, top_k) for each in (again, explainer))
        assert found[1].equal(expected[1])
        for one, other in zip(found, expected, strict=True):
            assert one.shape == other.shape
            assert float((one - other).abs().max()) < most
    torch.testing.assert_close(again.predict(inputs), explainer.predict(inputs), atol=most, rtol=0)
    return again


@pytest.fixture(scope="module", params=[".onnx", ".xml"])
def exported(request, tmp_path_factory):
    pytest.importorskip({".onnx": "onnxscript", ".xml": "openvino"}[request.param])
    return export(tiny_explainer(), tmp_path_factory.mktemp("export") / f"tiny{request.param}")


def test_it_answers_as_the_network(exported):
    again = answers_alike(tiny_explainer(), exported, torch.rand(5, 3, 16, 16))
    assert again.explain_classes(torch.rand(0, 3, 16, 16))[0].shape == (0, 1, 16)
    assert (again.class_names, again.features.grid, again.preprocess.size) == (CLASSES, (4, 4), (16, 16))
    own, other = again.explain(torch.zeros(3, 16, 16))[0], tiny_explainer().explain(torch.zeros(3, 16, 16))[0]
    assert {**own.to_dict(), "seconds": 0, "attribution": 0} == {**other.to_dict(), "seconds": 0, "attribution": 0}


def test_the_command_line_explains_by_it(exported, tmp_path, capsys):
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (30, 20, 3), np.uint8)).save(tmp_path / "a.png")
    command = [str(exported), str(tmp_path / "a.png"), "--output", str(tmp_path / "out"), "--top-k", "2"]
    assert explain(command) == 0
    assert explain([*command, "--resume"]) == 0
    assert json.loads((tmp_path / "out" / "a.png.top2.json").read_text())["method"] == "FEX"


def test_its_metadata_say_how_to_use_it(tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    path = tmp_path / "tiny.onnx"
    assert main([str(write_checkpoint(tmp_path / "x.ckpt")), str(path)]) == 0
    assert not list(tmp_path.glob("*.data"))
    session = runtime.InferenceSession(path)
    entries = session.get_modelmeta().custom_metadata_map
    assert json.loads(entries["class_names"]) == CLASSES
    assert json.loads(entries["grid"]) == [4, 4]
    assert json.loads(entries["preprocess"])["height"] == 16
    assert [each.name for each in session.get_inputs()] == ["inputs", "target"]
    assert not isinstance(session.get_inputs()[0].shape[0], int)


def test_pt2_is_written_but_not_read(tmp_path):
    path = export(tiny_explainer(), tmp_path / "tiny.pt2")
    extra = {"fex.json": ""}
    program = torch.export.load(path, extra_files=extra)
    inputs = torch.rand(3, 3, 16, 16)
    found = program.module()(inputs, torch.full((3, 1), -1))
    torch.testing.assert_close(found[0][:, 0], tiny_explainer().attribute_features(inputs))
    assert json.loads(json.loads(extra["fex.json"])["class_names"]) == CLASSES
    with pytest.raises(ValueError, match=r"does not|do not|not read them"):
        fex.load_explainer(path)


def test_what_cannot_be_exported_is_told(tmp_path, capsys, monkeypatch):
    with pytest.raises(TypeError, match=r"Random cannot be exported: only trained explainers"):
        export(Random(tiny_box()), tmp_path / "a.onnx")
    with pytest.raises(ValueError, match=r"end the name in one of .onnx, .xml, .pt2"):
        export(tiny_explainer(), tmp_path / "a.tflite")
    monkeypatch.setitem(__import__("sys").modules, "onnxscript", None)
    assert main([str(write_checkpoint(tmp_path / "x.ckpt")), str(tmp_path / "a.onnx")]) == 2
    assert 'pip install "fex-explain[onnx]"' in capsys.readouterr().err
    assert main(["vit_cifar10", str(tmp_path / "a.onnx")]) == 2
    assert "expected an explainer" in capsys.readouterr().err


def test_foreign_and_changed_files_are_refused(tmp_path):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    path = export(tiny_explainer(), tmp_path / "tiny.onnx")
    model = onnx.load(path)
    for change, reason in (
        ({"format": "other"}, "was not written by fex-export"),
        ({"class_names": '["a"]'}, "is not of its description|does not run"),
        ({"class_names": "[1]"}, "not a list of names"),
        ({"grid": "[0, 4]"}, "grid has the size"),
        ({"modality": '"smell"'}, "not known here"),
        ({"preprocess": "{"}, "is no JSON"),
    ):
        changed = onnx.ModelProto.FromString(model.SerializeToString())
        for entry in changed.metadata_props:
            entry.value = change.get(entry.key, entry.value)
        onnx.save(changed, tmp_path / "changed.onnx")
        with pytest.raises(ValueError, match=reason):
            fex.load_explainer(tmp_path / "changed.onnx").predict(torch.rand(2, 3, 16, 16))
    Path(tmp_path / "cut.onnx").write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"onnxruntime cannot open"):
        fex.load_explainer(tmp_path / "cut.onnx")
    with pytest.raises(FileNotFoundError, match=r"no exported explainer"):
        fex.load_explainer(tmp_path / "none.onnx")


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".onnx", ".xml"])
@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_explainers_answer_alike(name, suffix, tmp_path):
    pytest.importorskip({".onnx": "onnxscript", ".xml": "openvino"}[suffix])
    explainer = fex.load_explainer(name)
    path = export(explainer, tmp_path / f"explainer{suffix}")
    text = explainer.modality.name == "text"
    inputs = explainer.tokenize(TEXTS) if text else torch.rand(5, 3, *explainer.preprocess.size)
    answers_alike(explainer, path, inputs)
