"""What fex-export writes answers as its network does, for other batches, other lengths, and any classes."""

import json
import sys

import pytest
import torch

import fex
from fex.cli.export import main
from fex.explainers import build_explainer
from fex.export import export, read_export
from fex.storage.resources import manifest
from tests.explainers.tiny import CLASSES, tiny_explainer, write_checkpoint

pytestmark = pytest.mark.slow  # the tracer alone takes seconds

SHIPPED = {name: entry for name, entry in manifest().items() if entry["kind"] == "explainer"}
WHOLE = [name for name, entry in SHIPPED.items() if "stands_on" not in entry]
TEXTS = ["a gripping, funny film about the world", "no", "two words", "x " * 40, "bad"]
WRITER = {".onnx": "onnxscript", ".xml": "openvino"}


def answers_alike(explainer, path, inputs, most=1e-5):
    every = torch.arange(len(explainer.class_names))[:12].expand(len(inputs), -1)
    if path.suffix == ".pt2":  # which fex does not read
        program = torch.export.load(path).module()
        with torch.no_grad():
            found, expected = (net(inputs, every) for net in (program, explainer.net.explain_classes))
        assert max(float((one - other).abs().max()) for one, other in zip(found, expected, strict=True)) < most
        return None
    files, meta = read_export(path)
    again = build_explainer(files, meta, source=str(path))
    for target, top_k in ((None, 1), (None, 2), (1, 1), (every, 1)):
        found, expected = (each.explain_classes(inputs, target, top_k) for each in (again, explainer))
        assert found[1].equal(expected[1])
        for one, other in zip(found, expected, strict=True):
            assert one.shape == other.shape
            assert float((one - other).abs().max()) < most
    return again


@pytest.mark.parametrize("suffix", WRITER)
def test_a_tiny_one_answers_alike(suffix, tmp_path):
    pytest.importorskip(WRITER[suffix])
    path = tmp_path / f"tiny{suffix}"
    assert main([str(write_checkpoint(tmp_path / "x.ckpt")), str(path)]) == 0
    again = answers_alike(tiny_explainer(), path, torch.rand(5, 3, 16, 16))
    assert (again.class_names, again.features.grid, again.preprocess.size) == (CLASSES, (4, 4), (16, 16))
    own, other = (each.explain(torch.zeros(3, 16, 16), 1)[0].to_dict() for each in (again, tiny_explainer()))
    differing = {"seconds", "attribution", "probability", "contrast"}
    assert {key: own[key] for key in own.keys() - differing} == {key: other[key] for key in other.keys() - differing}
    assert {each.suffix for each in tmp_path.iterdir()} == {".ckpt", suffix, *([".bin"] if suffix == ".xml" else [])}


def test_pt2_holds_the_same(tmp_path):
    path, extra, inputs = export(tiny_explainer(), tmp_path / "tiny.pt2"), {"fex.json": ""}, torch.rand(3, 3, 16, 16)
    program = torch.export.load(path, extra_files=extra)
    found = program.module()(inputs, torch.full((3, 1), -1))
    torch.testing.assert_close(found[0][:, 0], tiny_explainer().attribute_features(inputs))
    assert json.loads(json.loads(extra["fex.json"])["class_names"]) == CLASSES


def test_a_missing_package_is_told(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    assert main([str(write_checkpoint(tmp_path / "x.ckpt")), str(tmp_path / "a.onnx")]) == 2
    assert 'pip install "fex-explain[onnx]"' in capsys.readouterr().err


@pytest.mark.parametrize("suffix", [*WRITER, ".pt2"])
@pytest.mark.parametrize("name", WHOLE)
def test_shipped_ones_answer_alike(name, suffix, tmp_path):
    pytest.importorskip(WRITER.get(suffix, "torch"))
    explainer = fex.load_explainer(name)
    path = export(explainer, tmp_path / f"explainer{suffix}")
    text = explainer.modality.name == "text"
    answers_alike(explainer, path, explainer.tokenize(TEXTS) if text else torch.rand(5, 3, *explainer.preprocess.size))


@pytest.mark.data
@pytest.mark.parametrize("name", SHIPPED.keys() - WHOLE)
def test_shipped_ones_that_stand_on_others_answer_alike(name, data_dir, tmp_path):
    weights = next((data_dir.parent / "models").glob(f"*/{SHIPPED[name]['stands_on']}.safetensors"), None)
    if weights is None:
        pytest.skip(f"no weights of {SHIPPED[name]['stands_on']}")
    explainer = fex.load_explainer(name, backbone=weights)
    paths = [tmp_path / f"explainer{suffix}" for suffix in (*WRITER, ".pt2")]
    assert main([name, *map(str, paths), "--backbone", str(weights)]) == 0
    for path in paths:
        answers_alike(explainer, path, torch.rand(5, 3, *explainer.preprocess.size))


@pytest.mark.parametrize("suffix", [*WRITER, ".pt2"])
def test_classes_that_do_not_exist_are_an_error(suffix, tmp_path):
    pytest.importorskip(WRITER.get(suffix, "torch"))
    path, inputs = export(tiny_explainer(), tmp_path / f"tiny{suffix}"), torch.rand(1, 3, 16, 16)
    for target in (len(CLASSES), -1 - len(CLASSES)):
        asked = torch.full((1, 1), target)
        if suffix == ".pt2":
            with pytest.raises(
                (IndexError, RuntimeError), match="out of (bounds|range)"
            ):  # by the operator that torch chose
                torch.export.load(path).module()(inputs, asked)
            continue
        with pytest.raises(ValueError, match="outside the 5 classes: expected 0 ... 4, or -1 ... -5"):
            fex.load_explainer(path).net.explain_classes(inputs, asked)
        if suffix == ".onnx":  # whoever runs the graph without fex
            session = pytest.importorskip("onnxruntime").InferenceSession(path.read_bytes())
            with pytest.raises(Exception, match="[oO]ut of|[bB]ound"):
                session.run(None, {"inputs": inputs.numpy(), "target": asked.numpy()})
