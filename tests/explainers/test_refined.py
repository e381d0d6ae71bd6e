"""Refined explanations as users meet them: pictures and texts in, fidelity and standard errors out."""

import json

import numpy as np
import pytest
import torch

import fex
from fex.baselines import Random
from fex.images import Black
from tests.explainers.tiny import tiny_box, tiny_explainer
from tests.lightning_modules.test_texts import explainer as text_explainer
from tests.texts.tiny import WordBox


def picture(seed=0):
    return np.random.default_rng(seed).integers(0, 256, (16, 16, 3), dtype=np.uint8)


def test_a_picture_gives_an_explanation_with_fidelity_and_standard_errors(tmp_path):
    box = tiny_box()
    [found] = fex.Refined(tiny_explainer(), box, queries=16).explain(picture(), target="crane")
    assert (found.target_name, found.chosen_by, found.probability_of) == ("crane", "user", "black box")
    assert (found.method, found.queries, box.queries) == ("FEX + 16 queries", 17, 17)
    assert found.fidelity.queries == 16
    assert found.fidelity.low <= found.fidelity.value <= found.fidelity.high
    data = json.loads(found.save(tmp_path / "a.json").read_text())
    assert data["fidelity"]["queries"] == 16
    assert np.array(data["standard_error"]).shape == np.array(data["attribution"]).shape == (4, 4)
    with np.load(found.save(tmp_path / "a.npz")) as arrays:
        assert arrays["standard_error"].shape == (4, 4)


def test_checking_changes_no_map():
    explainer, box = tiny_explainer(), tiny_box()
    [plain] = explainer.explain(picture(), black_box=box)
    [checked] = fex.Refined(explainer, box, queries=16).check(picture())
    assert torch.equal(plain.attribution, checked.attribution)
    assert (checked.target, checked.method, checked.span) == (plain.target, "FEX", plain.span)
    assert checked.fidelity.queries == 16
    assert plain.fidelity is None


def test_classes_of_one_picture_share_its_queries():
    box = tiny_box()
    refined = fex.Refined(tiny_explainer(), box, queries=12)
    both = refined.explain(picture(), top_k=2)
    assert box.queries == 13
    for one in both:
        [alone] = refined.explain(picture(), target=one.target)
        torch.testing.assert_close(one.attribution, alone.attribution)
        assert one.fidelity == alone.fidelity


def test_a_batch_is_one_by_one_in_any_part():
    refined = fex.Refined(tiny_explainer(), tiny_box(), queries=8)
    pictures = [picture(seed) for seed in range(5)]
    together = refined.explain(pictures, batch_size=2, sources=list("abcde"))
    assert [each.source for each in together] == list("abcde")
    for one, each in zip(pictures, together, strict=True):
        torch.testing.assert_close(refined.explain(one)[0].attribution, each.attribution)


def test_any_method_that_scores_features_can_be_refined_and_names_work():
    explainer = tiny_explainer()
    found = fex.explain(picture(), fex.Refined(Random(explainer.features), tiny_box(), queries=8), "drum")
    assert found[0].method == "Random + 8 queries"
    with pytest.raises(ValueError, match="Found no black box"):
        fex.Refined(explainer, "no_such_box")
    with pytest.raises(ValueError, match="scores no features"):
        fex.Refined(object(), tiny_box())
    with pytest.raises(ValueError, match="of this explainer|this explainer"):
        fex.Refined(explainer, tiny_box(size=32))


def test_it_stops_when_the_lower_end_is_high_enough():
    box = tiny_box()
    easy = fex.Refined(tiny_explainer(), box, queries=16, until=0.5, most=160)
    [found] = easy.explain(picture())
    assert found.fidelity.queries < 160
    assert found.fidelity.low >= 0.5
    assert box.queries == found.queries
    [most] = fex.Refined(tiny_explainer(), box, queries=16, until=0.9999999, most=40).explain(picture())
    assert most.fidelity.queries == 40
    for options in ({"until": 2}, {"most": 100}, {"until": 0.5, "most": 3}, {"queries": 0, "until": 0.5}):
        with pytest.raises(ValueError, match="until|most"):
            fex.Refined(tiny_explainer(), box, **options)


def test_the_removal_is_that_of_the_explainer():
    explainer = tiny_explainer()
    explainer.removal = "black"
    assert fex.Refined(explainer, tiny_box()).removal.name == "black"
    explainer.removal = "blur"
    with pytest.raises(ValueError, match="'blur', which has settings"):
        fex.Refined(explainer, tiny_box())
    assert fex.Refined(explainer, tiny_box(), Black()).removal.name == "black"


def test_texts_have_standard_errors_word_by_word():
    refined = fex.Refined(text_explainer(), WordBox(), queries=16)
    first, second = refined.explain(["a gem, so odd!", "the film is a mess"], sources=["one", "two"])
    assert (first.source, second.source) == ("one", "two")
    assert second.fidelity.queries == 16
    words = second.to_dict()["words"]
    assert [word["word"] for word in words] == ["the", "film", "is", "a", "mess"]
    assert all(word["standard_error"] > 0 for word in words)
    [checked] = refined.check("the film is a mess")
    torch.testing.assert_close(checked.scores, text_explainer().explain("the film is a mess", checked.target)[0].scores)
