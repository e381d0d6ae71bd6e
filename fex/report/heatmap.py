"""Pictures of attributions: arrays in, PIL images out; no plotting state.

Colours are a perceptually uniform map of matplotlib's, so that equal steps of attribution look equal.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Literal

import matplotlib
import numpy as np
from numpy.typing import ArrayLike
from PIL import Image, ImageDraw, ImageFont

from fex.contrast import is_flat, painted_span
from fex.storage.names import on_one_line

__all__ = [
    "GAP",
    "TILE",
    "colorize",
    "enlarged",
    "fitted",
    "grid_picture",
    "normalise",
    "overlay",
    "panel",
    "to_picture",
    "typeface",
    "upsample",
]

Normalisation = Literal["min-max", "rank"]
Interpolation = Literal["bilinear", "nearest"]

COLORMAP = "inferno"
TILE = 224  # pixels a side at least; smaller inputs are enlarged
_INK, _FAINT, _PAPER, GAP = (28, 28, 30), (110, 110, 116), (255, 255, 255), 8


@cache
def _colors(name: str) -> np.ndarray:
    if name not in matplotlib.colormaps:
        raise ValueError(f"Unknown colormap {name!r}: give a name of matplotlib's, such as 'inferno' or 'viridis'.")
    return (matplotlib.colormaps[name](np.linspace(0, 1, 256))[:, :3] * 255).round().astype(np.uint8)


@cache
def typeface(size: int, *, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib and covers more scripts than PIL's own."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(matplotlib.get_data_path(), "fonts", "ttf", name)), size)


def to_picture(image: ArrayLike) -> Image.Image:
    """(3, H, W), float, RGB in [0, 1] -> PIL image; values outside are clipped.

    Of more channels the first three are shown, of fewer their mean.
    """
    array = np.asarray(image, dtype=np.float32)
    if array.ndim != 3 or (array.shape[0] != 3 and array.shape[2] == 3):  # channels last is a mistake, not a strip
        raise ValueError(f"Got a picture of shape {array.shape}, expected (3, H, W), RGB in [0, 1].")
    array = array[:3] if len(array) >= 3 else array.mean(0, keepdims=True).repeat(3, 0)
    return Image.fromarray((array.clip(0, 1) * 255).round().astype(np.uint8).transpose(1, 2, 0))


def normalise(values: ArrayLike, how: Normalisation = "min-max", span: float | None = None) -> np.ndarray:
    """Values of any range -> [0, 1], float32, same shape; a constant map becomes 0, one that is nearly so stays low.

    Args:
        values: attribution.
        how: "min-max" keeps distances; "rank" shows the order alone (ties share their mean rank), robust to outliers.
        span: largest difference that two values can have, where it is known; see `fex.contrast.painted_span`.
    """
    array = np.asarray(values, dtype=np.float64)
    if how == "rank":
        _, inverse, counts = np.unique(array, return_inverse=True, return_counts=True)
        array = (np.cumsum(counts) - (counts + 1) / 2)[inverse].reshape(array.shape)
    elif how != "min-max":
        raise ValueError(f"Unknown normalisation {how!r}: give 'min-max' or 'rank'.")
    low, high = array.min(), array.max()
    if high == low:
        return np.zeros(array.shape, np.float32)
    full = painted_span(array, span) if how == "min-max" else high - low
    return ((array - low) / full).astype(np.float32)


def upsample(grid: ArrayLike, size: tuple[int, int], how: Interpolation = "bilinear") -> np.ndarray:
    """(h, w) -> (H, W), float32; "nearest" draws the patches as `PatchGrid` lays them."""
    array = np.asarray(grid, dtype=np.float32)
    if how == "nearest":
        rows, columns = (np.arange(size[axis]) * array.shape[axis] // size[axis] for axis in (0, 1))
        return array[rows][:, columns]
    if how != "bilinear":
        raise ValueError(f"Unknown interpolation {how!r}: give 'bilinear' or 'nearest'.")
    return np.asarray(Image.fromarray(array, "F").resize((size[1], size[0]), Image.Resampling.BILINEAR))


def colorize(values: ArrayLike, colormap: str = COLORMAP) -> np.ndarray:
    """Values in [0, 1], (H, W) -> RGB (H, W, 3), uint8."""
    index = (np.asarray(values, dtype=np.float32).clip(0, 1) * 255).round().astype(np.uint8)
    return _colors(colormap)[index]


def overlay(picture: Image.Image, values: ArrayLike, *, colormap: str = COLORMAP) -> Image.Image:
    """The map laid over the picture: low values leave it dim and grey, high values colour it.

    Args:
        picture: RGB, (W, H).
        values: (H, W), in [0, 1].
        colormap: matplotlib's name.
    """
    strength = np.asarray(values, dtype=np.float32).clip(0, 1)[..., None]
    grey = np.asarray(picture.convert("L"), dtype=np.float32)[..., None]
    alpha = 0.3 + 0.35 * strength
    mixed = (1 - alpha) * grey + alpha * colorize(strength[..., 0], colormap)
    return Image.fromarray(mixed.round().astype(np.uint8))


def enlarged(picture: Image.Image, side: int) -> Image.Image:
    """At least `side` pixels on the shorter side."""
    scale = side / min(picture.size)
    if scale <= 1:
        return picture
    return picture.resize((round(picture.width * scale), round(picture.height * scale)), Image.Resampling.BICUBIC)


def fitted(text: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    """The text on one line, its middle left out where it is wider than `width` pixels: names differ at both ends."""
    text = on_one_line(text)
    if font.getlength(text) <= width:
        return text
    low, high = 0, len(text)
    while low < high:  # the most characters that fit
        keep = (low + high + 1) // 2
        shortened = text[: (keep + 1) // 2] + "…" + text[len(text) - keep // 2 :]
        low, high = (keep, high) if font.getlength(shortened) <= width else (low, keep - 1)
    return text[: (low + 1) // 2] + "…" + text[len(text) - low // 2 :]


def panel(
    picture: Image.Image,
    grid: ArrayLike,
    *,
    title: str,
    subtitle: str = "",
    how: Normalisation = "min-max",
    interpolation: Interpolation = "bilinear",
    colormap: str = COLORMAP,
    span: float | None = None,
) -> Image.Image:
    """Picture | map by patch | overlay, under a title and above a colour bar that names range and normalisation.

    Args:
        picture: the input; enlarged to `TILE` pixels if smaller.
        grid: attribution (h, w), any range.
        title: first line.
        subtitle: second line.
        how: see `normalise`.
        interpolation: of the overlay; the map in the middle always shows the patches.
        colormap: matplotlib's name.
        span: see `normalise`.
    """
    values = np.asarray(grid, dtype=np.float32)
    shown = normalise(values, how, span)
    picture = enlarged(picture, TILE)
    (width, height), size = picture.size, (picture.height, picture.width)
    tiles = [
        picture,
        Image.fromarray(colorize(upsample(shown, size, "nearest"), colormap)),
        overlay(picture, upsample(shown, size, interpolation), colormap=colormap),
    ]
    total, head, foot = 3 * width + 4 * GAP, 46, 26
    canvas = Image.new("RGB", (total, head + height + foot), _PAPER)
    draw = ImageDraw.Draw(canvas)
    bold, plain, small = typeface(15, bold=True), typeface(12), typeface(11)
    draw.text((GAP, 6), fitted(title, bold, total - 2 * GAP), _INK, bold)
    draw.text((GAP, 27), fitted(subtitle, plain, total - 2 * GAP), _FAINT, plain)
    for column, tile in enumerate(tiles):
        canvas.paste(tile, (GAP + column * (width + GAP), head))

    left, top = 2 * GAP + width, head + height + 9
    used = _colors(colormap)[: 1 + round(255 * float(shown.max()))]  # a map that is nearly flat has few of them
    bar = Image.fromarray(used[None].repeat(8, 0)).resize((90, 8))
    low, high = f"{values.min():.3g}", f"{values.max():.3g}"
    draw.text((left, top - 3), low, _FAINT, small)
    left += round(small.getlength(low)) + 6
    canvas.paste(bar, (left, top))
    sign = "  nearly flat: says little" if values.size > 1 and is_flat(values, span) else ""
    draw.text((left + 96, top - 3), f"{high}  ({how}){sign}", _FAINT, small)
    return canvas


def grid_picture(
    images: Sequence[ArrayLike],
    maps: Sequence[Sequence[ArrayLike]],
    *,
    row_titles: Sequence[str],
    column_titles: Sequence[str],
    how: Normalisation = "min-max",
    tile: int = 160,
    colormap: str = COLORMAP,
    span: float | None = None,
) -> Image.Image:
    """Methods x images: the pictures in the first row, then one row of overlays for each method.

    Args:
        images: n of (3, H, W), RGB in [0, 1].
        maps: for each method n attributions (h, w), of any grid; each normalised by itself.
        row_titles: names of the methods.
        column_titles: names over the pictures.
        how: see `normalise`.
        tile: side of a cell in pixels.
        colormap: matplotlib's name.
        span: see `normalise`.

    Raises:
        ValueError: numbers that do not agree.
    """
    if not images or len(column_titles) != len(images) or len(row_titles) != len(maps):
        raise ValueError(
            f"grid_picture got {len(images)} images, {len(column_titles)} column titles, {len(maps)} rows of maps and "
            f"{len(row_titles)} row titles: give one title an image and one a row, and at least one image."
        )
    for name, row in zip(row_titles, maps, strict=True):
        if len(row) != len(images):
            raise ValueError(f"Row {name!r} has {len(row)} maps for {len(images)} images: give one an image.")
    pictures = [to_picture(image).resize((tile, tile), Image.Resampling.BICUBIC) for image in images]
    cells = [pictures]
    for row in maps:
        shown = [upsample(normalise(values, how, span), (tile, tile)) for values in row]
        cells.append([overlay(p, v, colormap=colormap) for p, v in zip(pictures, shown, strict=True)])

    font, row_titles = typeface(13), [on_one_line(name) for name in row_titles]
    margin = round(max([font.getlength(name) for name in row_titles], default=0)) + 2 * GAP
    width, height = margin + len(images) * (tile + GAP), 26 + len(cells) * (tile + GAP)
    canvas = Image.new("RGB", (width, height), _PAPER)
    draw = ImageDraw.Draw(canvas)
    for column, name in enumerate(column_titles):
        draw.text((margin + column * (tile + GAP), 5), fitted(name, font, tile), _INK, font)
    for index, row in enumerate(cells):
        top = 26 + index * (tile + GAP)
        if index:
            draw.text((GAP, top + tile // 2), row_titles[index - 1], _INK, font, anchor="lm")
        for column, picture in enumerate(row):
            canvas.paste(picture, (margin + column * (tile + GAP), top))
    return canvas
