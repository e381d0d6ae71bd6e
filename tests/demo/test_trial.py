"""What the page shows: maps, tables and curves of the explainer itself; sentences for what cannot be shown."""

import numpy as np
import pytest
from PIL import Image

from fex.cli.demo import main
from fex.demo import Trial
from tests.explainers.tiny import CLASSES, tiny_box, tiny_explainer


@pytest.fixture
def picture(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (30, 20, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    return str(tmp_path / "a.png")


def test_the_likeliest_classes_or_those_that_are_chosen(picture):
    trial, explainer = Trial([tiny_explainer()], ["one"]), tiny_explainer()
    found = trial(picture, [], 2, 0)
    expected = explainer.explain(picture, top_k=2)
    assert [row[1:3] for row in found.rows] == [[each.target_name, f"{each.probability:.3f}"] for each in expected]
    assert found.pictures[0][0].size == expected[0].to_image().size
    assert (found.curve, found.rows[0][4], "not measured" in found.note) == (None, "not asked", True)
    assert [row[1] for row in trial(picture, ["crane", "drum"], 1, 0).rows] == ["crane", "drum"]


def test_a_box_gives_a_curve_and_fidelity_and_two_are_compared(picture):
    found = Trial([tiny_explainer(), tiny_explainer(1)], ["one", "two"], tiny_box())(picture, [], 1, 16)
    assert [row[0] for row in found.rows] == ["one", "two"]
    assert all(row[3] == "black box" and "fidelity" in row[4] for row in found.rows)
    assert len(found.curve.axes[0].lines) == 4
    assert [caption.split(":")[0] for _, caption in found.pictures] == ["one", "two"]


def test_two_files_of_one_name_are_told_apart(picture):
    for names, told in ((["a/x.ckpt", "b/x.ckpt"], {"a/x.ckpt", "b/x.ckpt"}), (["a/x", "b/y"], {"x", "y"})):
        found = Trial([tiny_explainer(), tiny_explainer(1)], names, tiny_box())(picture, [], 1, 0)
        assert {line.get_label().partition(":")[0] for line in found.curve.axes[0].lines} == told


def test_what_cannot_be_shown_is_a_sentence(tmp_path, capsys, monkeypatch):
    trial = Trial([tiny_explainer()], ["one"])
    (tmp_path / "a.png").write_bytes(b"GIF")
    for given, reason in ((None, "Give a picture first"), (str(tmp_path / "a.png"), "cannot be read")):
        with pytest.raises(ValueError, match=reason):
            trial(given, [], 1, 0)
    other = tiny_explainer()
    other.class_names = CLASSES[::-1]
    with pytest.raises(ValueError, match="compare two of the same"):
        Trial([tiny_explainer(), other], ["one", "two"])
    monkeypatch.setitem(__import__("sys").modules, "gradio", None)
    assert main(["fex_vit_cifar10"]) == 2
    assert 'pip install "fex-explain[demo]"' in capsys.readouterr().err
