import pytest
import torch

from fex.baselines import LIME
from fex.images import Black, PatchGrid
from fex.masking import Masker, masked_probabilities
from tests.toys import LinearBox, TableBox, white

GRID = PatchGrid(2, 3)
WEIGHTS = torch.tensor([0.05, 0.3, -0.1, 0.2, 0.15, 0.1])


def linear():
    return LinearBox(GRID, WEIGHTS, bias=0.1, size=12)


def table():
    return TableBox(GRID, torch.rand(64, generator=torch.Generator().manual_seed(2)), size=12)


@pytest.mark.parametrize(("width", "ridge"), [(0.25, 1.0), (0.1, 0.3), (5.0, 0.01)])
def test_it_is_scikit_learns_weighted_ridge(width, ridge):
    linear_model = pytest.importorskip("sklearn.linear_model")
    metrics = pytest.importorskip("sklearn.metrics")
    box, inputs = table(), white(1, 12)
    method = LIME(box, GRID, Black(), num_masks=50, kernel_width=width, ridge=ridge, seed=4)
    masks = method.masks
    scores = masked_probabilities(box, Masker(GRID, Black()), inputs, masks[None])[0, :, 1]
    distance = torch.as_tensor(metrics.pairwise_distances(masks, masks[:1], metric="cosine"))[:, 0]
    weights = (-(distance**2) / width**2).exp().sqrt()
    model = linear_model.Ridge(alpha=ridge).fit(masks.double(), scores.double(), sample_weight=weights)
    expected = torch.from_numpy(model.coef_).float()
    torch.testing.assert_close(method.attribute_features(inputs, 1)[0], expected, atol=1e-5, rtol=1e-4)


def test_a_linear_box_is_exact_without_penalty():
    box, inputs = linear(), torch.rand(2, 3, 12, 12)
    found = LIME(box, GRID, Black(), num_masks=40, ridge=0.0).attribute_features(inputs, 1)
    torch.testing.assert_close(found, WEIGHTS * box.brightness(inputs), atol=1e-4, rtol=1e-3)


def test_the_input_is_the_first_sample_and_the_budget_is_kept():
    box = linear()
    method = LIME(box, GRID, num_masks=17)
    assert torch.equal(method.masks[0], torch.ones(6))
    method.attribute(torch.rand(2, 3, 12, 12), 1)
    assert box.queries == 2 * 17


@pytest.mark.parametrize("option", [{"num_masks": 31}, {"kernel_width": 0.1}, {"ridge": 0.1}, {"seed": 1}])
def test_every_knob_changes_the_map(option):
    start = LIME(table(), GRID, Black(), num_masks=30).attribute(white(1, 12), 1)
    changed = LIME(table(), GRID, Black(), **{"num_masks": 30, **option}).attribute(white(1, 12), 1)
    assert not torch.allclose(start, changed)


@pytest.mark.parametrize("option", [{"num_masks": 1}, {"kernel_width": 0}, {"ridge": -1}])
def test_errors(option):
    with pytest.raises(ValueError, match="LIME needs num_masks >= 2, kernel_width > 0 and ridge >= 0, got"):
        LIME(linear(), GRID, **option)
