import io
import logging

import numpy as np
import pytest
from PIL import Image

from datamodules.skips import Skips
from fex.images import UnreadableImageError, decode
from fex.images import decoding as module
from tests.datamodules.pictures import encode


@pytest.mark.parametrize(
    ("kind", "mode", "expected", "tolerance"),
    [
        ("PNG", "RGB", (200, 100, 50), 0),
        ("JPEG", "RGB", (200, 100, 50), 4),
        ("JPEG", "CMYK", (200, 100, 50), 6),
        ("PNG", "L", (124, 124, 124), 0),
        ("JPEG", "L", (124, 124, 124), 3),
        ("PNG", "P", (204, 102, 51), 8),
        ("GIF", "P", (204, 102, 51), 8),
        ("PNG", "1", None, 0),
        ("PNG", "LA", (124, 124, 124), 0),
        ("PNG", "RGBA", (200, 100, 50), 0),
        ("WEBP", "RGB", (200, 100, 50), 8),
        ("TIFF", "CMYK", (200, 100, 50), 6),
    ],
)
def test_kinds_and_modes(kind, mode, expected, tolerance):
    image = decode(encode((9, 7), kind, mode))
    assert image.mode == "RGB"
    assert image.size == (9, 7)
    if expected:
        # The palette's nearest colour may be dithered: compare the mean.
        assert np.abs(np.asarray(image).mean((0, 1)) - expected).max() <= tolerance


def test_sixteen_bit_is_scaled():
    buffer = io.BytesIO()
    Image.fromarray(np.full((4, 4), 32768, np.uint16)).save(buffer, "PNG")
    assert abs(np.asarray(decode(buffer.getvalue())).mean() - 127.5) <= 1


def test_one_pixel():
    assert decode(encode((1, 1))).getpixel((0, 0)) == (200, 100, 50)


def test_a_photograph_is_turned_upright():
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    Image.new("RGB", (8, 4)).save(buffer, "JPEG", exif=exif)
    assert decode(buffer.getvalue()).size == (4, 8)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no picture",
        encode(kind="JPEG")[:200],
        encode((300, 300), "PNG", "L")[:-60],
        b"\x89PNG\r\n\x1a\n" + bytes(40),
        None,
        7,
    ],
)
def test_unreadable(data):
    with pytest.raises(UnreadableImageError):
        decode(data)


def test_missing_file(tmp_path):
    with pytest.raises(UnreadableImageError, match=r"none\.png"):
        decode(tmp_path / "none.png")


def test_huge_jpeg_is_decoded_small_and_huge_png_refused(monkeypatch):
    monkeypatch.setattr(module, "MAX_PIXELS", 10_000)
    image = decode(encode((400, 200), "JPEG"))
    assert image.size == (100, 50)
    with pytest.raises(UnreadableImageError, match=r"400 x 200 pixels, the limit is 10,000"):
        decode(encode((400, 200), "PNG"))


def test_bomb_is_refused_by_its_header_alone():
    png = bytearray(encode((4, 4)))
    png[16:24] = (60_000).to_bytes(4, "big") * 2
    png[29:33] = __import__("zlib").crc32(png[12:29]).to_bytes(4, "big")
    with pytest.raises(UnreadableImageError, match="pixels"):
        decode(bytes(png))


def test_skips_count_rows_once_and_name_the_first_few(caplog):
    skips = Skips(20)
    with caplog.at_level(logging.WARNING, "datamodules"):
        for index in [*range(12), 3, 4]:
            skips.row(index, f"file{index}.jpg", ValueError("broken"))
    assert len(skips) == 12
    assert "file0.jpg (broken)" in caplog.text
    assert "file4.jpg" in caplog.text
    assert "file5.jpg" not in caplog.text
    assert caplog.text.count("counted, not named") == 1
