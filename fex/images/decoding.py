"""Decoding pictures, whatever they hold: into 8-bit RGB, within bounds of memory."""

import io
import os
import stat
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from fex.images.preprocess import Preprocess, to_rgb

__all__ = ["MAX_BYTES", "MAX_PIXELS", "UnreadableImageError", "decode", "decode_raw", "read_pixels"]


# What undoes each EXIF orientation; 1 is upright.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # fmt: skip


# What is decoded. PIL knows dozens of formats more; some run other programs (EPS is a program for Ghostscript).
_FORMATS = ("JPEG", "MPO", "PNG", "BMP", "DIB", "GIF", "TIFF", "WEBP", "AVIF", "JPEG2000", "PPM", "TGA")


MAX_PIXELS = 100_000_000  # 400 MB as RGBX, what PIL needs to decode


MAX_BYTES = 2**30  # of a file; some formats are read whole before their size is known


class UnreadableImageError(ValueError):
    """The picture is corrupt, cut off, no picture or too large."""


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(0x0112, 1))
    except Exception:  # damaged EXIF data, of which the plugins say so in as many ways; the pixels may be whole
        return 1


def _opened(source: bytes | str | os.PathLike[str]) -> Image.Image:
    """The picture, its pixels not decoded yet."""
    if not isinstance(source, bytes):
        found = os.stat(os.fspath(source))
        if not stat.S_ISREG(found.st_mode):  # a pipe has no end
            raise UnreadableImageError("it is no regular file")
    size = len(source) if isinstance(source, bytes) else found.st_size
    if size > MAX_BYTES:
        raise UnreadableImageError(f"{size:,} bytes, the limit is {MAX_BYTES:,}")
    Image.init()
    formats = [name for name in _FORMATS if name in Image.OPEN]  # old versions know fewer
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of bombs: `decode` is stricter; of damaged metadata: the pixels count
            return Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=formats)
    except UnidentifiedImageError as error:
        raise UnreadableImageError(f"it is none of {', '.join(formats)}, or its head is damaged") from error


def decode(source: bytes | str | os.PathLike[str], *, most: int | None = None) -> Image.Image:
    """Decodes a picture of any PIL mode as 8-bit RGB.

    Pictures are turned and mirrored as their EXIF orientation says, so that results lie the way every viewer shows the
    picture (torchvision's data sets, used for most ImageNet figures, ignore it). A JPEG of more than `MAX_PIXELS` is
    decoded at 1/2, 1/4 or 1/8; other formats of that size are refused before they are decoded (decompression bombs).
    Pixels that are NaN or infinite are refused, `fex.images.to_rgb` says what is white in grey of 16 and 32 bit.

    Args:
        source: encoded bytes, or a path.
        most: pixels, where fewer than `MAX_PIXELS` are allowed.

    Raises:
        UnreadableImageError: with the reason.
    """
    return _decoded(source, to_rgb, most)


def read_pixels(source: bytes | str | os.PathLike[str], preprocess: Preprocess, *, most: int | None = None) -> Tensor:
    """An encoded picture as a network takes it, uint8 (3, H, W): `preprocess.pixels(decode(source))`.

    Plain JPEGs (8-bit RGB or grey, upright) are decoded and resized by torchvision and torch, in half the time. The
    decoded pixels are the same; resized ones differ by 1 of 255 here and there, where both round (in one of 10^5 values
    by 2). Every other picture, and one that they cannot decode, goes the usual way.

    Args:
        source: encoded bytes, or a path.
        preprocess: geometry of the network's inputs.
        most: see `decode`.

    Raises:
        UnreadableImageError: with the reason.
    """
    found = _plain_jpeg(source, preprocess, most or MAX_PIXELS)
    return preprocess.pixels(decode(source, most=most)) if found is None else found


def _plain_jpeg(source: bytes | str | os.PathLike[str], preprocess: Preprocess, most: int) -> Tensor | None:
    try:
        with _opened(source) as image:
            plain = image.format == "JPEG" and image.mode in ("RGB", "L") and image.width * image.height <= most
            if not plain or _orientation(image) != 1:
                return None
        from torchvision.io import ImageReadMode, decode_jpeg  # here: the import takes a second

        encoded = bytearray(source) if isinstance(source, bytes) else bytearray(Path(source).read_bytes())
        return preprocess.fit(decode_jpeg(torch.frombuffer(encoded, dtype=torch.uint8), ImageReadMode.RGB))
    except Exception:  # whatever it is, the usual way tells it better
        return None


def decode_raw(source: bytes | str | os.PathLike[str]) -> Image.Image:
    """As `decode`, but the values as they are stored, whatever the PIL mode: a palette's indices, not its colours.

    Raises:
        UnreadableImageError: with the reason.
    """
    return _decoded(source, lambda image: image)


def _decoded(
    source: bytes | str | os.PathLike[str], convert: Callable[[Image.Image], Image.Image], most: int | None = None
) -> Image.Image:
    most = most or MAX_PIXELS
    try:
        with _opened(source) as image:
            width, height = image.size
            if width * height > most:
                scale = (most / (width * height)) ** 0.5
                image.draft(None, (int(width * scale / 2), int(height * scale / 2)))
            if image.width * image.height > most:
                raise UnreadableImageError(f"{width} x {height} pixels, the limit is {most:,}")
            image.load()  # here, where its errors count: reading EXIF data of a PNG would load it too
            method = _UPRIGHT.get(_orientation(image))
            picture = convert(image)
            if method is not None:
                return picture.transpose(method)
            return picture.copy() if picture is image else picture
    except UnreadableImageError:
        raise
    # PIL's plugins raise a dozen kinds (OSError, SyntaxError, struct.error, zlib.error, ...)
    except Exception as error:
        raise UnreadableImageError(str(error) or type(error).__name__) from error
