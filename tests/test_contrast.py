"""A map that says nothing looks so, and is called so: in page, terminal, table and JSON."""

import csv
import io
import json
from dataclasses import replace
from pathlib import PurePath

import numpy as np
import pytest
import torch

from fex.contrast import contrast, is_flat, painted_span
from fex.explanations import Explanation, TextExplanation
from fex.images import PatchGrid
from fex.report.folder import ResultFolder
from fex.report.heatmap import normalise
from fex.report.html import make_card
from fex.report.text import strengths, terminal_text, text_card
from fex.report.text_folder import TextResultFolder

NAMED = {
    "target": 0, "target_name": "yes", "probability": 0.9, "probability_of": "explainer", "method": "FEX",
    "removal": "mean", "black_box": "toy", "span": 1.0, "source": "a",
}  # fmt: skip
FLAT, CLEAR = [0.38, 0.385, 0.39, 0.382], [0.1, 0.9, 0.5, 0.2]


def image(values, **changes):
    named = {**NAMED, **changes}
    return Explanation(torch.tensor(values), PatchGrid(2, 2), (8, 8), torch.rand(3, 8, 8), **named)


def text(values, **changes):
    spans = [(0, 1), (2, 3), (4, 5), (6, 7)][: len(values)]
    count = len(values)
    return TextExplanation(
        text="a b c d"[: 2 * count - 1], scores=torch.tensor(values), spans=spans, words=list(range(count)),
        parts=[0] * count, cut=0, windows=1, **{**NAMED, **changes},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("values", "span", "expected"),
    [
        (FLAT, 1.0, True),
        (CLEAR, 1.0, False),
        ([0.0, 1e-5], 1.0, True),  # of probabilities: none is kept
        ([0.0, 1e-5], None, False),  # of any unit: one counts, the other does not
        ([-1e-3, 1e-3], None, False),
        (FLAT, None, True),
        ([0.95, 1.0001], None, False),
        ([0.0, 0.0], None, True),
        ([0.0, 0.0], 1.0, True),
    ],
)
def test_values_are_held_against_what_they_could_be(values, span, expected):
    assert is_flat(values, span) is expected
    shown = normalise(np.array(values), span=span)
    assert shown.min() == 0
    assert shown.max() == pytest.approx(min(1.0, contrast(values, span) / 0.1), abs=1e-6)


def test_painting_grows_with_the_contrast_without_a_jump():
    tops = [normalise(np.array([0.3, 0.3 + spread]), span=1.0).max() for spread in np.linspace(0, 0.2, 81)]
    assert np.diff(tops).min() >= 0
    assert np.diff(tops).max() < 0.03
    assert tops[-1] == 1
    assert painted_span([0.2, 0.9], 1.0) == pytest.approx(0.7)


@pytest.mark.parametrize("make", [image, text])
def test_json_says_it(make):
    assert json.loads(json.dumps(make(FLAT).to_dict()))["flat"] is True
    assert make(FLAT).to_dict()["contrast"] == pytest.approx(0.01, abs=1e-4)
    assert make(CLEAR).to_dict()["flat"] is False


def test_one_word_alone_is_not_flat():
    assert text([0.4]).flat is False


def test_pages_and_terminal_say_it_and_stay_pale():
    for make, card in ((image, make_card), (text, text_card)):
        assert "nearly flat" in card([make(FLAT)]).html
        assert "nearly flat" not in card([make(CLEAR)]).html
    assert "(nearly flat)" in terminal_text(text(FLAT)).plain
    assert max(strengths(text(FLAT).word_scores(), 1.0)) == pytest.approx(0.1, abs=1e-5)
    assert max(strengths(text(CLEAR).word_scores(), 1.0)) == 1
    assert not [span for span in terminal_text(text(FLAT)).spans if "on rgb" in str(span.style)]


def test_pictures_of_it_stay_dark():
    def red(values):
        tile = np.asarray(image(values).to_image().crop((240, 46, 464, 270)), dtype=float)  # the map, by patch
        return tile.max()

    assert red(FLAT) < 0.5 * red(CLEAR)


def test_tables_have_a_column(tmp_path):
    with ResultFolder(tmp_path / "images", formats=()) as results:
        for number, values in enumerate((FLAT, CLEAR)):
            results.add(results.write(PurePath(f"{number}.png"), [image(values)]))
    with TextResultFolder(tmp_path / "texts") as results:
        assert [results.add([text(values)]).flat for values in (FLAT, CLEAR)] == [1, 0]
    for kind in ("images", "texts"):
        content = (tmp_path / kind / "explanations.csv").read_text()
        assert [row["flat"] for row in csv.DictReader(io.StringIO(content))] == ["yes", "no"]


def test_shipped_rules_of_a_trained_net_and_of_shapley_values():
    from fex.nets import ExplainerNet, ShapleyNet

    assert (ExplainerNet.span, ShapleyNet.span) == (1.0, None)
    assert replace(image(FLAT), span=None).flat is True
