"""A black box beside an explainer that has one of its own, and boxes that do not say what their classes are."""

import numpy as np
import pytest
import torch

import fex
from fex.baselines import Occlusion
from fex.dax import DAX
from fex.errors import warn_once
from fex.images import PatchGrid
from tests.explainers.tiny import CLASSES, tiny_box, tiny_explainer


def picture():
    return np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)


OTHERS = [CLASSES[::-1], [*CLASSES[:4], "flute"], CLASSES[:4]]


@pytest.mark.parametrize("classes", OTHERS)
def test_a_box_of_other_classes_beside_the_explainers_own_is_refused(classes):
    other = fex.load_black_box(
        lambda x: torch.full((len(x), len(classes)), 1 / len(classes)), class_names=classes,
        preprocess={"height": 16, "width": 16}, name="other",
    )  # fmt: skip
    occlusion = Occlusion(tiny_box(), PatchGrid(2, 2))
    for explainer in (occlusion, DAX(tiny_box()), fex.Refined(occlusion, tiny_box(), queries=4)):
        with pytest.raises(ValueError, match=r"its own black box 'toy', and 'other' beside it has .*give one box"):
            fex.explain(picture(), explainer, "crane", black_box=other)
    with pytest.raises(ValueError, match="its own black box 'toy'"):
        fex.Refined(occlusion, other)
    assert other.queries == 0


def test_a_box_of_the_same_classes_or_of_none_said_may_stand_beside_it():
    occlusion = Occlusion(tiny_box(), PatchGrid(2, 2))
    for classes in ([name.upper() for name in CLASSES], list("01234")):
        assert len(fex.explain(picture(), occlusion, 2, black_box=tiny_box(classes=classes))) == 1


def test_a_box_without_names_is_told_once_and_the_explainer_names_the_class(caplog):
    warn_once.cache_clear()
    explainer, nameless = tiny_explainer(), tiny_box(classes=list("01234"))
    nameless.name = "nameless"
    found = [
        *explainer.explain(picture(), "crane", black_box=nameless),
        *fex.Refined(explainer, nameless, queries=4).check(picture(), "crane"),
        *fex.Refined(explainer, nameless, queries=4).explain(picture(), 2),
    ]
    assert [each.target_name for each in found] == ["crane"] * 3
    black, unasked = torch.zeros(1, 3, 16, 16), fex.Refined(explainer, nameless, queries=0)
    assert torch.equal(unasked.attribute_features(black, "drum"), explainer.attribute_features(black, "drum"))
    [line] = [record.getMessage() for record in caplog.records]
    assert "'nameless' has no class names" in line
    assert "not the box that the explainer was trained for, 'toy'" in line


def test_the_very_box_of_training_needs_no_names(caplog):
    warn_once.cache_clear()
    explainer, nameless = tiny_explainer(), tiny_box(classes=list("01234"))
    explainer.meta["black_box_sha256"] = nameless.digest()
    explainer.check_box(nameless)
    assert not caplog.records
    explainer.meta["black_box_sha256"] = "0" * 64
    explainer.check_box(nameless)
    assert "not the box that the explainer was trained for" in caplog.text
    warn_once.cache_clear()
    caplog.clear()
    explainer.meta.pop("black_box_sha256")
    explainer.check_box(nameless)
    assert "cannot be compared with the explainer's: give" in caplog.text
