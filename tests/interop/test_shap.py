"""To shap and back: what its plots take, and the same numbers again."""

import matplotlib
import numpy as np
import pytest
import torch

from fex.explanations import TextExplanation
from fex.interop import from_shap, to_shap
from tests.explainers.tiny import tiny_box, tiny_explainer

shap = pytest.importorskip("shap")
matplotlib.use("Agg")


def text(words=("good", "film")):
    whole = " ".join(words)
    starts = [whole.index(word) for word in words]
    spans = [(start, start + len(word)) for start, word in zip(starts, words, strict=True)]
    return TextExplanation(
        whole, torch.linspace(0.9, 0.1, len(words)), spans, list(range(len(words))), [0] * len(words), 0, 1, target=1,
        target_name="yes", probability=0.8, probability_of="explainer", method="FEX", removal="mask", black_box="toy",
    )  # fmt: skip


def test_pictures_go_there_and_back():
    images = torch.rand(2, 3, 16, 16)
    explanations = tiny_explainer().explain(images, target="crane")
    found = to_shap(explanations)
    assert (found.values.shape, found.data.shape) == ((2, 16, 16, 1, 1), (2, 16, 16, 3))
    assert list(found.output_names) == ["crane"]
    shap.image_plot(found, show=False)
    matplotlib.pyplot.close("all")
    again = from_shap(found[..., 0], 2, "crane", black_box="toy", grid=(4, 4))
    for one, other in zip(again, explanations, strict=True):
        torch.testing.assert_close(one.attribution, other.attribution * 16)  # sums of 16 pixels
        torch.testing.assert_close(one.image, other.image)
    pixels = from_shap(found[..., 0], 2, "crane", black_box="toy")
    assert pixels[0].grid.shape == (16, 16)


def test_texts_go_there_and_back():
    explanations = [text(), text(("a", "very", "odd", "one"))]
    found = to_shap(explanations)
    assert "".join(found.data[1]) == "a very odd one"
    assert float(found.base_values[0] + found.values[0].sum()) == pytest.approx(0.8)
    assert "odd" in shap.plots.text(found[1], display=False)
    again = from_shap(found, 1, "yes", black_box="toy")
    assert [word.word for word in again[1].word_scores()] == ["a", "very", "odd", "one"]
    torch.testing.assert_close(again[1].scores, explanations[1].scores)
    assert again[0].probability == pytest.approx(0.8, abs=1e-6)


@pytest.mark.slow  # it compiles with numba
def test_what_shap_itself_explains_becomes_explanations(tmp_path):
    box = tiny_box(size=8)
    masker = shap.maskers.Image(np.zeros((8, 8, 3), np.float32))
    explainer = shap.Explainer(
        lambda x: box(torch.from_numpy(np.asarray(x, np.float32)).movedim(-1, 1)).numpy(), masker, seed=0
    )
    pixels = np.zeros((1, 8, 8, 3), np.float32)
    pixels[0, :, :4, 0] = 1.0
    found = explainer(pixels, max_evals=60, outputs=[0], silent=True)[..., 0]
    [one] = from_shap(found, 0, box.class_names[0], black_box="toy", grid=(2, 2))
    assert one.attribution.argmax() in (0, 2)  # where the red is
    expected = float(box(torch.from_numpy(pixels).movedim(-1, 1))[0, 0])
    assert one.probability == pytest.approx(expected, abs=1e-4)
    one.save(tmp_path / "a.png")


def test_what_has_no_form_there_is_told():
    with pytest.raises(ValueError, match="at least one"):
        to_shap([])
    with pytest.raises(ValueError, match="at least one"):
        to_shap([text(), tiny_explainer().explain(torch.rand(3, 16, 16))[0]])
    with pytest.raises(ValueError, match="take one output first"):
        from_shap(shap.Explanation(np.zeros((2, 3)), np.zeros(2), None), 0, "a", black_box="toy")
