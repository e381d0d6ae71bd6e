import pytest
import torch

from fex.baselines import KernelSHAP
from fex.images import Black, Blur, PatchGrid
from fex.masking import Masker
from tests.shapley.exact import exact_shapley, values_of_all_masks
from tests.toys import LinearBox, TableBox, white

GRID = PatchGrid(2, 3)
WEIGHTS = torch.tensor([0.05, 0.3, -0.1, 0.2, 0.15, 0.1])


def linear():
    return LinearBox(GRID, WEIGHTS, bias=0.1, size=12)


def interactions(grid):
    generator = torch.Generator().manual_seed(2)
    return TableBox(grid, torch.rand(2**grid.num_features, generator=generator), size=12)


@pytest.mark.parametrize("shape", [(1, 2), (1, 3), (2, 2), (2, 4)])
def test_a_budget_of_all_subsets_is_exact(shape):
    grid = PatchGrid(*shape)
    box, inputs = interactions(grid), white(1, 12)
    truth = exact_shapley(values_of_all_masks(box, Masker(grid, Black()), inputs))[0]  # (C, N)
    method = KernelSHAP(box, grid, Black(), num_masks=max(4, 2**grid.num_features))
    for target in (0, 1):
        torch.testing.assert_close(method.attribute_features(inputs, target)[0], truth[target], atol=1e-5, rtol=1e-4)


def test_a_linear_box_is_exact_from_any_masks_that_span():
    box, inputs = linear(), torch.rand(3, 3, 12, 12)
    expected = box.shapley(inputs, torch.zeros(1, 3, 12, 12))
    found = KernelSHAP(box, GRID, Black(), num_masks=40).attribute_features(inputs, 1)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_sampled_values_tend_to_the_exact_ones():
    grid = PatchGrid(2, 5)
    box, inputs = interactions(grid), white(1, 20)
    truth = exact_shapley(values_of_all_masks(box, Masker(grid, Black()), inputs))[0, 1]
    errors = []
    for count in (60, 1000):
        found = [
            KernelSHAP(box, grid, Black(), num_masks=count, seed=s).attribute_features(inputs, 1) for s in range(8)
        ]
        errors.append(float((torch.cat(found) - truth).square().mean().sqrt()))
        mean_error = float((torch.cat(found).mean(0) - truth).abs().max())
    assert errors[1] < 0.4 * errors[0]  # sqrt(60 / 1000) = 0.24
    assert mean_error < 0.4 * float(truth.std())


@pytest.mark.parametrize("ridge", [0.0, 1.0])
@pytest.mark.parametrize("count", [4, 7, 33])
def test_values_add_up_and_the_budget_is_kept(count, ridge):
    box, inputs = linear(), torch.rand(2, 3, 12, 12)
    found = KernelSHAP(box, GRID, Blur(2.0), num_masks=count, ridge=ridge).attribute_features(inputs, 1)
    assert box.queries == 2 * count
    blank = Masker(GRID, Blur(2.0)).blank(inputs)
    torch.testing.assert_close(found.sum(1), (box(inputs) - box(blank))[:, 1], atol=1e-5, rtol=1e-4)


def test_a_ridge_helps_where_there_are_as_many_pairs_as_features():
    grid = PatchGrid(2, 5)
    box, inputs = interactions(grid), white(1, 20)
    truth = exact_shapley(values_of_all_masks(box, Masker(grid, Black()), inputs))[0, 1]

    def error(ridge):
        found = [
            KernelSHAP(box, grid, Black(), num_masks=22, ridge=ridge, seed=s).attribute_features(inputs, 1)
            for s in range(8)
        ]
        return float((torch.cat(found) - truth).square().mean())

    assert error(1.0) < 0.5 * error(0.0)
    assert error(1e-9) == pytest.approx(error(0.0), rel=1e-3)  # plain least squares is the limit


def test_a_large_ridge_leaves_the_mean_alone_and_exact_values_exact():
    box, inputs = linear(), torch.rand(2, 3, 12, 12)
    found = KernelSHAP(box, GRID, Black(), num_masks=30, ridge=1e9).attribute_features(inputs, 1)
    torch.testing.assert_close(found, found.mean(1, keepdim=True).expand_as(found), atol=1e-6, rtol=0.0)
    exact = [KernelSHAP(box, GRID, Black(), num_masks=64, ridge=r).attribute_features(inputs, 1) for r in (0.0, 1.0)]
    assert exact[0].equal(exact[1])
    with pytest.raises(ValueError, match="ridge=-1"):
        KernelSHAP(box, GRID, ridge=-1)


def test_the_seed_is_used():
    box, inputs = interactions(PatchGrid(2, 4)), white(1, 12)
    a, b = (KernelSHAP(box, PatchGrid(2, 4), Black(), num_masks=30, seed=s).attribute(inputs, 1) for s in (0, 1))
    assert not torch.allclose(a, b)


@pytest.mark.parametrize(("grid", "count"), [(GRID, 3), (PatchGrid(1, 1), 10)])
def test_errors(grid, count):
    with pytest.raises(ValueError, match=f"at least 2 features, got {count} and {grid.num_features}"):
        KernelSHAP(linear(), grid, num_masks=count)
