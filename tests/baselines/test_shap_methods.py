"""shap's PartitionSHAP and shapiq's ProxySPEX, on boxes whose values are known."""

import pytest
import torch

from fex.baselines import PartitionSHAP, ProxySPEX
from fex.black_box import TextBlackBox
from fex.images import Black, PatchGrid
from fex.masking import Masker
from tests.shapley.exact import exact_shapley, values_of_all_masks
from tests.texts.tiny import text_folder
from tests.toys import LinearBox, TableBox, white

pytest.importorskip("shap")
pytest.importorskip("shapiq")
pytest.importorskip("lightgbm")

GRID = PatchGrid(4, 4)


def linear(grid=GRID):
    weights = torch.rand(grid.num_features, generator=torch.Generator().manual_seed(1)) / grid.num_features
    return LinearBox(grid, weights, bias=0.1, size=16)


@pytest.mark.parametrize("count", [300, 32, 7, 4])
def test_partition_shap_keeps_its_budget_and_adds_up(count):
    box, inputs = linear(), torch.rand(2, 3, 16, 16)
    expected = box.shapley(inputs, torch.zeros(1, 3, 16, 16))
    found = PartitionSHAP(box, GRID, Black(), num_masks=count).attribute_features(inputs, 1)
    assert box.queries <= 2 * count
    torch.testing.assert_close(found.sum(1), expected.sum(1), atol=1e-5, rtol=1e-4)
    if count == 300:
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_partition_shap_asks_first_where_the_effect_is():
    """The queries go where the effect is, before they cut up what has none."""
    weights = torch.zeros(16)
    weights[6] = 0.8
    box = LinearBox(GRID, weights, bias=0.1, size=16)
    [found] = PartitionSHAP(box, GRID, Black(), num_masks=40).attribute_features(white(1, 16), 1)
    assert found.argmax() == 6
    assert found[6] > 2 * found.sort().values[-2]


@pytest.mark.parametrize("method", [ProxySPEX, PartitionSHAP])
def test_few_features_are_exact(method):
    grid = PatchGrid(1, 2)
    box, inputs = TableBox(grid, torch.tensor([0.1, 0.3, 0.2, 0.9]), size=12), white(1, 12)
    truth = exact_shapley(values_of_all_masks(box, Masker(grid, Black()), inputs))[0, 1]
    [found] = method(box, grid, Black(), num_masks=10).attribute_features(inputs, 1)
    torch.testing.assert_close(found, truth, atol=1e-5, rtol=1e-4)


def test_proxy_spex_finds_the_features_that_count():
    weights = torch.zeros(16)
    weights[3], weights[12] = 0.5, 0.3
    box, inputs = LinearBox(GRID, weights, bias=0.1, size=16), white(2, 16)
    found = ProxySPEX(box, GRID, Black(), num_masks=100).attribute_features(inputs, 1)
    assert box.queries == 2 * 100
    torch.testing.assert_close(found, weights.expand(2, -1), atol=0.02, rtol=0)


def test_where_nothing_counts_its_map_is_zero_with_a_warning():
    box = LinearBox(GRID, torch.zeros(16), bias=0.5, size=16)
    with pytest.warns(UserWarning, match="found nothing to split in 40 answers"):
        found = ProxySPEX(box, GRID, Black(), num_masks=40).attribute_features(white(1, 16), 1)
    assert not found.any()


@pytest.mark.parametrize("method", [ProxySPEX, PartitionSHAP])
def test_texts_one_by_one_and_together(method, tmp_path):
    box = TextBlackBox(text_folder(tmp_path))
    explainer = method(box, box.features, num_masks=40)
    inputs = box.tokenize(["good", "a bad film", "the plot is good and the film is not bad"])
    found, valid = explainer.attribute_features(inputs, 1), box.features.valid(inputs)
    assert not found[~valid].any()
    assert found[2].std() > 0
    for row in range(3):
        torch.testing.assert_close(found[row : row + 1], explainer.attribute_features(inputs[row : row + 1], 1))


@pytest.mark.parametrize(("method", "fewest"), [(ProxySPEX, 10), (PartitionSHAP, 4)])
def test_too_few_masks_are_refused(method, fewest):
    with pytest.raises(ValueError, match=f"{method.__name__} needs num_masks >= {fewest}, got {fewest - 1}"):
        method(linear(), GRID, num_masks=fewest - 1)


@pytest.mark.parametrize("method", [ProxySPEX, PartitionSHAP])
def test_a_missing_library_is_told_before_anything_is_asked(method, monkeypatch):
    monkeypatch.setattr("fex.baselines.shap_methods.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=rf"{method.__name__} needs .*: pip install \"fex-explain\[interop\]\""):
        method(linear(), GRID)
