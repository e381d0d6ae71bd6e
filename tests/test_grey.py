"""Brightness of pictures whose pixels are not 8 bit: what is written as white is white."""

import io

import numpy as np
import pytest
from PIL import Image

from fex.images import Preprocess, UnreadableImageError, decode, to_rgb


def saved(pixels, kind="TIFF", **options):
    buffer = io.BytesIO()
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def grey(values, dtype):
    return np.array(values, dtype).reshape(1, -1)


@pytest.mark.parametrize(
    ("pixels", "expected"),
    [
        (grey([0.7, 0.7], np.float32), [178, 178]),  # 0.7 * 255 = 178.5, rounded to even
        (grey([0.4, 0.6], np.float32), [102, 153]),
        (grey([0.0, 1.0], np.float32), [0, 255]),
        (grey([10.0, 200.0], np.float32), [10, 200]),
        (grey([0.0, 257.0 * 100], np.float32), [0, 100]),
        (grey([7, 130], np.int32), [7, 130]),
        (grey([0, 257 * 99], np.int32), [0, 99]),
        (grey([257 * 50, 257 * 60], np.uint16), [50, 60]),
        (grey([3, 200], np.uint16), [0, 1]),  # 16 bit says what white is
    ],
)
def test_white_is_that_of_the_code(pixels, expected):
    picture = decode(saved(pixels))
    assert [picture.getpixel((x, 0)) for x in range(2)] == [(value,) * 3 for value in expected]
    assert to_rgb(Image.fromarray(pixels)).tobytes() == picture.tobytes()


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([0.5, np.nan], "1 of 2 pixels are NaN or infinite"),
        ([np.nan, np.nan], "2 of 2 pixels are NaN or infinite"),
        ([0.5, np.inf], "1 of 2 pixels are NaN or infinite"),
        ([-np.inf, 0.5], "1 of 2 pixels are NaN or infinite"),
        ([-0.5, 0.5], "pixels from -0.5 to 0.5, expected 0 ... 1"),
        ([0.0, 1e9], r"pixels from 0 to 1e\+09, expected 0 ... 1"),
    ],
)
def test_what_has_no_brightness_is_refused_by_name(values, reason):
    pixels = grey(values, np.float32)
    with pytest.raises(UnreadableImageError, match=reason):
        decode(saved(pixels))
    with pytest.raises(ValueError, match=reason):
        Preprocess(8, 8)(Image.fromarray(pixels))


def test_palettes_transparency_and_inks():
    palette = Image.new("RGB", (4, 4), (200, 100, 50)).convert("P", palette=Image.Palette.ADAPTIVE)
    assert decode(saved(palette, "PNG")).getpixel((0, 0)) == (200, 100, 50)
    assert decode(saved(Image.new("LA", (4, 4), (0, 0)), "PNG")).getpixel((0, 0)) == (255, 255, 255)
    assert decode(saved(Image.new("LA", (4, 4), (40, 255)), "PNG")).getpixel((0, 0)) == (40, 40, 40)
    seen = decode(saved(Image.new("L", (4, 4), 40), "PNG", transparency=40))
    assert seen.getpixel((0, 0)) == (255, 255, 255)
    for kind in ("JPEG", "TIFF"):
        red, green, blue = decode(saved(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), kind)).getpixel((8, 8))
        assert red > 250 > 5 > max(green, blue)  # magenta and yellow are red
    half = Image.new("RGBA", (2, 2), (200, 100, 50, 128))
    assert np.abs(np.array(to_rgb(half.convert("RGBa"))) - np.array(to_rgb(half), float)).max() <= 2
