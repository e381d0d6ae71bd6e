"""Every method on the same inputs: a row a method, a column an input."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from numpy.typing import ArrayLike
from PIL import Image, ImageDraw, ImageFont

from fex.report.heatmap import fitted, normalise, overlay, to_picture, upsample
from fex.storage.atomic import replacing

__all__ = ["picture_rows", "write_picture_grid"]


def picture_rows(
    images: Sequence[ArrayLike], maps: Mapping[str, Sequence[ArrayLike]], size: int
) -> list[tuple[str, list[Image.Image]]]:
    """The inputs and, for each method, their overlays, each map from its own lowest to its own highest value.

    Args:
        images: (3, H, W), RGB in [0, 1].
        maps: by method, one map (h, w) an image.
        size: pixels a side of a tile.

    Returns:
        Name and tiles of each row; the first is "input", whatever the methods are called.
    """
    pictures = [to_picture(image).resize((size, size), Image.Resampling.BICUBIC) for image in images]
    rows = [("input", pictures)]
    for name, values in maps.items():
        shown = [upsample(normalise(each), (size, size)) for each in values]
        rows.append((name, [overlay(picture, value) for picture, value in zip(pictures, shown, strict=True)]))
    return rows


def write_picture_grid(
    path: str | Path, images: Sequence[ArrayLike], maps: Mapping[str, Sequence[ArrayLike]], *, size: int = 128
) -> None:
    """Writes the grid as one PNG, inputs as rows and methods as columns, named above; whole or not at all.

    Args:
        path: of the PNG.
        images: (3, H, W), RGB in [0, 1].
        maps: by method, one map (h, w) an image.
        size: pixels a side of a tile.

    Raises:
        ValueError: no images.
    """
    if not len(images):
        raise ValueError("A grid of pictures needs at least one image, got none.")
    gap, head, font = size // 16, size // 5, ImageFont.load_default(size=size // 8)
    columns = picture_rows(images, maps, size)
    grid = Image.new("RGB", (len(columns) * (size + gap) - gap, head + len(images) * (size + gap) - gap), "white")
    draw = ImageDraw.Draw(grid)
    for column, (name, tiles) in enumerate(columns):
        left = column * (size + gap)
        draw.text((left + size / 2, head / 2), fitted(name, font, size), fill="black", font=font, anchor="mm")
        for row, tile in enumerate(tiles):
            grid.paste(tile, (left, head + row * (size + gap)))
    with replacing(path) as part:
        grid.save(part, format="PNG")
