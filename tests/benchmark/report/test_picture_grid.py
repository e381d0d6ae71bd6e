import numpy as np
import pytest
from PIL import Image

from fex.benchmark.report.picture_grid import picture_rows, write_picture_grid


def spot(row, column):
    found = np.zeros((2, 2))
    found[row, column] = 1.0
    return found


IMAGES = [np.full((3, 8, 8), level) for level in (0.2, 0.8)]
MAPS = {"left": [spot(0, 0), spot(1, 0)], "right": [spot(0, 1), spot(1, 1)]}


def warmest(tile):
    """Place of the tile's most red point, against blue."""
    pixels = np.asarray(tile, dtype=float)
    where = np.unravel_index((pixels[..., 0] - pixels[..., 2]).argmax(), pixels.shape[:2])
    return tuple(int(2 * place / len(pixels)) for place in where)


def test_a_tile_for_each_method_and_input():
    rows = dict(picture_rows(IMAGES, MAPS, 32))
    assert list(rows) == ["input", "left", "right"]
    assert [tile.size for tiles in rows.values() for tile in tiles] == [(32, 32)] * 6
    assert [np.asarray(tile)[16, 16, 0] for tile in rows["input"]] == [51, 204]
    assert [warmest(tile) for tile in rows["left"]] == [(0, 0), (1, 0)]
    assert [warmest(tile) for tile in rows["right"]] == [(0, 1), (1, 1)]


def test_a_method_may_be_called_input():
    (first, pictures), (second, overlays) = picture_rows(IMAGES, {"input": MAPS["left"]}, 32)
    assert first == second == "input"
    assert np.asarray(pictures[0]).std() == 0  # the picture itself
    assert warmest(overlays[1]) == (1, 0)


def test_png(tmp_path):
    write_picture_grid(
        tmp_path / "pictures.png", IMAGES, {**MAPS, "a name that is far too long": MAPS["left"]}, size=64
    )
    grid = Image.open(tmp_path / "pictures.png").convert("RGB")
    assert grid.size == (4 * 68 - 4, 12 + 2 * 68 - 4)
    tile = grid.crop((68, 12, 68 + 64, 12 + 64))
    assert np.array_equal(np.asarray(tile), np.asarray(dict(picture_rows(IMAGES, MAPS, 64))["left"][0]))
    heads = np.asarray(grid.crop((0, 0, grid.width, 12)).convert("L")) < 128
    assert heads[:, :64].any()  # names stand above their columns,
    assert not heads[:, 64:68].any()  # and not between them
    assert not heads[:, 200:204].any()


def test_no_images(tmp_path):
    with pytest.raises(ValueError, match="at least one image"):
        write_picture_grid(tmp_path / "pictures.png", [], {})
    assert not list(tmp_path.iterdir())
