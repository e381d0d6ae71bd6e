import pytest
import torch

from fex.baselines import CentreGaussian, Random
from fex.images import PatchGrid


def test_random_is_uniform_and_independent_between_images():
    scores = Random(PatchGrid(5, 4)).attribute_features(torch.rand(500, 3, 6, 6))
    assert scores.min() >= 0
    assert scores.max() < 1
    error = (1 / 12 / 500) ** 0.5
    assert ((scores.mean(0) - 0.5).abs() < 4 * error).all()
    correlation = torch.corrcoef(scores.T)
    assert (correlation - torch.eye(20)).abs().max() < 4.5 / 500**0.5


def test_random_follows_seed_and_pixels():
    grid, inputs = PatchGrid(3, 3), torch.rand(2, 3, 6, 6)
    assert not torch.equal(Random(grid, 0).attribute_features(inputs), Random(grid, 1).attribute_features(inputs))
    changed = inputs.clone()
    changed[0, 0, 0, 0] += 1e-6
    same = Random(grid).attribute_features(inputs) == Random(grid).attribute_features(changed)
    assert same.all(1).tolist() == [False, True]


def test_the_gaussian_falls_from_the_middle():
    scores = CentreGaussian(PatchGrid(3, 5), sigma=0.5).attribute_features(torch.rand(2, 3, 30, 30))
    grid = scores[0].unflatten(0, (3, 5))
    assert grid[1, 2] == 1
    # Centres are 2/3 apart from top to bottom and 2/5 from left to right, in half-sides.
    torch.testing.assert_close(grid[0, 2], torch.tensor(-((2 / 3) ** 2) / 0.5).exp())
    torch.testing.assert_close(grid[1, 0], torch.tensor(-(0.8**2) / 0.5).exp())
    torch.testing.assert_close(grid, grid.flip(0, 1))
    assert torch.equal(scores[0], scores[1])
    with pytest.raises(ValueError, match="needs sigma > 0, got 0"):
        CentreGaussian(PatchGrid(3, 5), sigma=0)
