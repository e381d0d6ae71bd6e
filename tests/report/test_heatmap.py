import matplotlib
import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import rankdata

from fex.images import PatchGrid
from fex.report.heatmap import TILE, colorize, grid_picture, normalise, overlay, panel, to_picture, upsample


def test_min_max_and_rank():
    values = np.random.default_rng(0).integers(0, 9, (4, 5))
    shown = normalise(values * 3.0 - 7)
    assert (shown.min(), shown.max(), shown.dtype) == (0, 1, np.float32)
    np.testing.assert_allclose(np.corrcoef(shown.flat, values.flat)[0, 1], 1)
    ranks = rankdata(values.flat).reshape(values.shape)
    np.testing.assert_allclose(normalise(values, "rank"), (ranks - ranks.min()) / np.ptp(ranks), rtol=1e-6)
    np.testing.assert_array_equal(normalise(values, "rank"), normalise(np.exp(values), "rank"))


def test_constant_maps_are_zero():
    for how in ("min-max", "rank"):
        np.testing.assert_array_equal(normalise(np.full((2, 2), 0.7), how), 0)


@pytest.mark.parametrize("size", [(6, 8), (7, 11)])
def test_upsampling_is_that_of_the_features(size):
    grid, features = torch.rand(3, 4), PatchGrid(3, 4)
    np.testing.assert_array_equal(upsample(grid, size, "nearest"), features.expand(grid.flatten(), size))
    smooth = features.smooth(grid.flatten()[None], size)[0]
    np.testing.assert_allclose(upsample(grid, size), smooth, atol=1e-6)


def test_colors_are_those_of_the_named_map():
    colors = colorize(np.array([[0.0, 0.5, 1.0]]), "viridis")
    expected = np.array([matplotlib.colormaps["viridis"](i)[:3] for i in (0, 128, 255)])
    np.testing.assert_allclose(colors[0] / 255, expected, atol=0.5 / 255 + 1e-9)


def test_overlay_colours_high_values_more():
    picture = Image.new("RGB", (2, 1), (100, 160, 220))
    low, high = np.asarray(overlay(picture, [[0.0, 1.0]]), dtype=int)[0]
    assert np.ptp(low) < 10  # inferno starts at black, over grey
    assert np.ptp(high) > 25
    assert high.sum() > low.sum()


def test_to_picture_clips_and_keeps_channels():
    image = torch.tensor([[[-1.0]], [[0.5]], [[2.0]]])
    assert to_picture(image).getpixel((0, 0)) == (0, 128, 255)


@pytest.mark.parametrize("size", [(1, 1), (32, 32), (300, 500)])
def test_panel_of_any_size_and_title(size):
    picture = Image.new("RGB", size[::-1], (10, 20, 30))
    result = panel(picture, np.eye(4), title="class " * 100, subtitle="é中/" * 200, how="rank", interpolation="nearest")
    assert result.width >= 3 * max(TILE, size[1])
    assert result.getpixel((12, 60)) == (10, 20, 30)


def test_panel_shows_every_patch_in_the_middle():
    values = np.arange(16.0).reshape(4, 4)
    result = panel(Image.new("RGB", (TILE, TILE)), values, title="")
    left, top = 2 * 8 + TILE, 46
    seen = np.array([[result.getpixel((left + 28 + 56 * x, top + 28 + 56 * y)) for x in range(4)] for y in range(4)])
    np.testing.assert_array_equal(seen, colorize(values / 15))


def test_grid_picture_has_a_row_a_method():
    images = [torch.zeros(3, 8, 8), torch.ones(3, 4, 4)]
    maps = [[np.eye(2), np.eye(3)], [np.eye(7), np.eye(1)]]
    options = {"row_titles": ["FEX", "RISE"], "column_titles": ["a", "b" * 99], "tile": 40}
    result = grid_picture(images, maps, **options)
    assert result.height == 26 + 3 * 48
    assert grid_picture(images, maps[:1], **{**options, "row_titles": ["FEX"]}).height == 26 + 2 * 48
    assert result.getpixel((result.width - 20, 40)) == (255, 255, 255)  # the second picture is white


def test_errors():
    with pytest.raises(ValueError, match=r"expected \(3, H, W\)"):
        to_picture(np.zeros((4, 4, 3)))
    with pytest.raises(ValueError, match=r"Unknown normalisation 'sum'"):
        normalise(np.eye(2), "sum")
    with pytest.raises(ValueError, match=r"Unknown interpolation 'cubic'"):
        upsample(np.eye(2), (4, 4), "cubic")
    with pytest.raises(ValueError, match=r"Unknown colormap 'rainbows'"):
        colorize(np.eye(2), "rainbows")
    with pytest.raises(ValueError, match=r"got 1 images, 2 column titles"):
        grid_picture([torch.zeros(3, 4, 4)], [], row_titles=[], column_titles=["a", "b"])
    with pytest.raises(ValueError, match=r"Row 'FEX' has 0 maps for 1 images"):
        grid_picture([torch.zeros(3, 4, 4)], [[]], row_titles=["FEX"], column_titles=["a"])
