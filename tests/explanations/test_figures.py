"""`plot`, `save` and `scores` have one meaning for pictures and texts, alone and in lists."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

import fex
from fex.explanations import Explanation, Explanations, TextExplanation
from fex.images import PatchGrid
from tests.explainers.tiny import CLASSES, tiny_explainer

COMMON = {
    "target": 1, "target_name": "a $^{class}$ <b>", "probability": 0.25, "probability_of": "explainer", "method": "FEX",
    "removal": "mean", "black_box": "toy",
}  # fmt: skip


@pytest.fixture
def picture():
    values = torch.arange(6.0) / 10
    return Explanation(attribution=values, features=PatchGrid(2, 3), size=(8, 12), image=torch.rand(3, 8, 12), **COMMON)


@pytest.fixture
def text():
    words = [f"word{number}" for number in range(60)] + ["$\\frac", "a\nb"]
    whole = " ".join(words)
    starts = np.cumsum([0, *(len(word) + 1 for word in words[:-1])]).tolist()
    return TextExplanation(
        text=whole, scores=torch.linspace(0, 1, len(words)), parts=[0] * len(words), words=list(range(len(words))),
        spans=[(start, start + len(word)) for start, word in zip(starts, words, strict=True)],
        cut=0, windows=1, **COMMON,
    )  # fmt: skip


def both(picture, text):
    return {"picture": picture, "text": text}


@pytest.mark.parametrize("kind", ["picture", "text"])
@pytest.mark.parametrize(("suffix", "start"), [(".png", b"\x89PNG"), (".pdf", b"%PDF"), (".svg", b"<?xml")])
def test_figures_are_saved(kind, suffix, start, picture, text, tmp_path):
    explanation = both(picture, text)[kind]
    assert explanation.save(tmp_path / f"x{suffix}").read_bytes().startswith(start)
    with pytest.raises(ValueError, match="Cannot save an explanation"):
        explanation.save(tmp_path / "x.bmp")


@pytest.mark.parametrize("kind", ["picture", "text"])
def test_plot_is_a_figure_that_notebooks_show(kind, picture, text):
    figure = both(picture, text)[kind].plot()
    with Image.open(io.BytesIO(figure._repr_png_())) as shown:
        assert shown.width == 825  # 7.5 inches
    texts = [found.get_text() for part in figure.subfigs for found in part.texts]
    assert texts[0].startswith("a $^{class}$ <b>")


def test_a_text_is_drawn_whole_on_lines_that_fit(text):
    (part,) = text.plot().subfigs
    words = part.texts[1:]
    assert "".join("".join(word.get_text() for word in words).split()) == "".join(text.text.split())
    assert len({word.get_position()[1] for word in words}) > 4  # lines
    assert all(0 <= word.get_position()[0] < 1 and 0 <= word.get_position()[1] <= 1 for word in words)
    strongest = max(words, key=lambda word: word.get_bbox_patch().get_facecolor()[3] if word.get_bbox_patch() else 0)
    assert strongest.get_text() in ("a", "b")


def test_the_map_of_the_figure_is_the_grid(picture):
    (part,) = picture.plot().subfigs
    np.testing.assert_array_equal(part.axes[1].images[0].get_array(), picture.grid)


def test_scores_have_one_name(picture, text):
    assert picture.scores is picture.attribution
    assert text.scores.shape == (62,)


@pytest.mark.parametrize("kind", ["picture", "text"])
def test_a_list_is_shown_drawn_and_saved(kind, picture, text, tmp_path):
    several = Explanations([both(picture, text)[kind]] * 2)
    assert several._repr_html_().count("&lt;b&gt;") >= 2
    assert "<b>" not in several._repr_html_()
    assert len(several.plot().subfigs) == 2
    files = several.save(tmp_path / "new", ".json")
    assert [file.name for file in files] == ["0.json", "1.json"]


def test_an_empty_list_says_so():
    assert Explanations()._repr_html_() == ""
    with pytest.raises(ValueError, match="the list is empty"):
        Explanations().plot()


def test_what_explains_gives_such_lists():
    found = fex.explain(torch.rand(2, 3, 16, 16), tiny_explainer(), top_k=2)
    assert isinstance(found, Explanations)
    assert isinstance(found, list)
    assert len(found.plot().subfigs) == 4
    assert {explanation.target_name for explanation in found} <= set(CLASSES)
