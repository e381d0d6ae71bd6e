"""Plain JPEGs take a shorter way to the same pixels; whatever is odd takes the long one."""

import io
import itertools

import numpy as np
import pytest
import torch
from PIL import Image

from fex.images import Preprocess, UnreadableImageError, as_unit, decode, decoding, read_pixels


def picture(size, mode="RGB"):
    noise = np.random.default_rng(0).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC).convert(mode)


def close(found, expected):
    """By 1 of 255 in few values; where the roundings of both passes meet, by 2."""
    difference = (found.int() - expected.int()).abs()
    return difference.max() <= 2 and (difference > 1).float().mean() < 2e-3 and (difference > 0).float().mean() < 0.15


def encoded(image, kind="JPEG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


SIZES = [(80, 60), (60, 81), (33, 47), (40, 40), (400, 20), (31, 500), (7, 9)]
SHAPES = [
    Preprocess(32, 32), Preprocess(32, 32, interpolation="bilinear"), Preprocess(24, 40, resize=36), Preprocess(40, 24),
    Preprocess(33, 47, squash=True), Preprocess(32, 32, resize=(40, 36)), Preprocess(50, 50, resize=0),
    Preprocess(32, 31, resize=36, corner="floor"), Preprocess(48, 48, resize=32),
]  # fmt: skip


@pytest.mark.parametrize(("size", "preprocess"), itertools.product(SIZES, SHAPES))
def test_plain_jpegs_differ_by_one_of_255_here_and_there(size, preprocess, monkeypatch):
    source = encoded(picture(size), quality=90)
    expected = preprocess.pixels(decode(source))
    if not preprocess.squash:
        monkeypatch.setattr(decoding, "decode", None)  # the long way is not taken
    found = read_pixels(source, preprocess)
    assert found.dtype == torch.uint8
    assert found.shape == (3, *preprocess.size) == expected.shape
    assert close(found, expected)
    assert as_unit(found).sub(as_unit(expected)).abs().mean() < 0.1 / 255


@pytest.mark.parametrize(
    "options", [{"progressive": True}, {"subsampling": 0}, {"quality": 20}, {"mode": "L"}, {"dpi": (72, 72)}]
)
def test_all_kinds_of_plain_jpegs(options, tmp_path, monkeypatch):
    source = tmp_path / "a.jpg"
    source.write_bytes(encoded(picture((90, 70), options.pop("mode", "RGB")), **options))
    expected = Preprocess(32, 32).pixels(decode(source))
    monkeypatch.setattr(decoding, "decode", None)
    assert close(read_pixels(source, Preprocess(32, 32)), expected)


def turned():
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(picture((90, 70)), exif=exif)


ODD = {
    "turned": turned,
    "cmyk": lambda: encoded(picture((90, 70), "CMYK")),
    "png": lambda: encoded(picture((90, 70)), "PNG"),
    "grey png": lambda: encoded(picture((90, 70), "L"), "PNG"),
    "palette": lambda: encoded(picture((90, 70), "P"), "GIF"),
    "clear": lambda: encoded(picture((90, 70), "RGBA"), "PNG"),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_pictures_take_the_long_way(name):
    source = ODD[name]()
    assert torch.equal(read_pixels(source, Preprocess(32, 32)), Preprocess(32, 32).pixels(decode(source)))


def test_other_interpolations_take_the_long_way():
    source, preprocess = encoded(picture((90, 70))), Preprocess(32, 32, interpolation="lanczos")
    assert torch.equal(read_pixels(source, preprocess), preprocess.pixels(decode(source)))


def test_what_is_allowed_holds_for_plain_jpegs_too():
    source, preprocess = encoded(picture((90, 70))), Preprocess(32, 32)
    assert torch.equal(read_pixels(source, preprocess, most=90 * 70), read_pixels(source, preprocess))
    found = read_pixels(source, preprocess, most=90 * 70 - 1)
    assert torch.equal(found, preprocess.pixels(decode(source, most=90 * 70 - 1)))
    assert not torch.equal(found, read_pixels(source, preprocess))


@pytest.mark.parametrize("cut", [0, 3, 100, 1500, -200])
def test_damaged_pictures_are_refused_as_ever(cut):
    source = encoded(picture((90, 70)), quality=95)[:cut]
    with pytest.raises(UnreadableImageError) as usual:
        decode(source)
    with pytest.raises(UnreadableImageError) as short:
        read_pixels(source, Preprocess(32, 32))
    assert str(short.value) == str(usual.value)


def test_noise_in_the_scan_never_gives_other_pixels():
    """Bytes that a disk has changed: both ways agree on what can be read, and on what it shows."""
    good = np.frombuffer(encoded(picture((64, 64))), dtype=np.uint8)
    draws = np.random.default_rng(0)
    for _ in range(40):
        bad = good.copy()
        bad[draws.integers(20, len(bad), 3)] = draws.integers(0, 256, 3)
        try:
            expected = Preprocess(32, 32).pixels(decode(bad.tobytes()))
        except UnreadableImageError:
            continue
        assert close(read_pixels(bad.tobytes(), Preprocess(32, 32)), expected)


@pytest.mark.data
def test_photographs_differ_by_one_of_255_here_and_there(data_dir):
    differences = torch.stack([
        (read_pixels(path, Preprocess()).int() - Preprocess().pixels(decode(path)).int()).abs()
        for path in sorted((data_dir / "imagenet_sample").rglob("*.JPEG"))[::20]
    ])  # fmt: skip
    assert differences.max() <= 2
    assert (differences > 1).float().mean() < 1e-5
    assert (differences > 0).float().mean() < 0.02
