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


class Given:
    """An explainer that knows the answer, or thinks that it does."""

    def __init__(self, values):
        self.values = values

    def attribute_features(self, inputs, target=None):
        return self.values.expand(len(inputs), -1)


def test_a_prior_halves_the_variance_and_a_wrong_one_costs_little():
    grid, inputs, generator = PatchGrid(2, 5), white(1, 20), torch.Generator().manual_seed(2)
    kept = (torch.arange(2**10).unsqueeze(1) >> torch.arange(10)) & 1
    linear, rest = kept.float() @ torch.rand(10, generator=generator), torch.rand(2**10, generator=generator)
    box = TableBox(grid, 0.1 * linear + 0.2 * rest, size=12)
    truth = exact_shapley(values_of_all_masks(box, Masker(grid, Black()), inputs))[0, 1]
    noise = torch.randn(10, generator=torch.Generator().manual_seed(3)) * truth.std()
    priors = {
        "none": None,
        "close": Given(7 * truth + 2 * noise + 5),
        "random": Given(noise),
        "level": Given(noise * 0),
    }
    error = {}
    for name, prior in priors.items():
        found = torch.cat(
            [
                KernelSHAP(box, grid, Black(), num_masks=40, ridge=3.0, prior=prior, seed=s).attribute_features(
                    inputs, 1
                )
                for s in range(12)
            ]
        )
        error[name] = float((found - truth).square().mean())
        torch.testing.assert_close(found.sum(1), truth.sum().expand(12), atol=1e-4, rtol=1e-4)
    assert error["close"] < 0.5 * error["none"]  # whatever its scale and level
    assert error["random"] < 1.3 * error["none"]
    assert error["level"] == error["none"]


def test_a_prior_is_what_the_ridge_draws_to():
    box, inputs, prior = interactions(GRID), white(2, 12), torch.tensor([0.1, 0.4, -0.2, 0.0, 0.3, 0.2])
    kept = KernelSHAP(box, GRID, Black(), num_masks=20, ridge=1.0, prior=Given(prior))
    masks = kept.masks[2:].double()
    scores = box(Masker(GRID, Black())(inputs[:1], kept.masks[None]).reshape(-1, 3, 12, 12))[:, 1].double()
    share, total = masks.mean(1), scores[1] - scores[0]
    coefficients, answers = masks - share[:, None], scores[2:] - scores[0] - share * total
    psi = (prior - prior.mean()).double()
    scale = (answers @ (coefficients @ psi)) / (coefficients @ psi).square().sum()
    penalty = coefficients.square().sum(0).mean()  # |y - C x|^2 + p |x - a psi|^2, as one least-squares problem
    design = torch.cat([coefficients, penalty.sqrt() * torch.eye(6)])
    expected = torch.linalg.lstsq(design, torch.cat([answers, penalty.sqrt() * scale * psi])).solution + total / 6
    torch.testing.assert_close(kept.attribute_features(inputs, 1)[0].double(), expected, atol=1e-5, rtol=1e-4)
    with pytest.raises(ValueError, match="A prior needs a ridge"):
        KernelSHAP(box, GRID, prior=Given(prior))
    with pytest.raises(TypeError, match="scores features"):
        KernelSHAP(box, GRID, ridge=1.0, prior=lambda inputs, target: inputs)


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
