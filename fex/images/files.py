"""Picture files: finding them in folders of any size, and decoding whatever they hold."""

import io
import os
import stat
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from fex.images.preprocess import Preprocess, to_rgb
from fex.storage.names import printable

__all__ = [
    "IMAGE_SUFFIXES",
    "MAX_PIXELS",
    "Picture",
    "UnreadableImageError",
    "as_inputs",
    "as_picture",
    "decode",
    "decode_raw",
    "read_pixels",
    "passed_over",
    "walk_images",
]

Picture = str | os.PathLike[str] | Image.Image | np.ndarray

IMAGE_SUFFIXES = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".avif", ".jp2", ".ppm", ".pgm",
    ".pbm", ".pnm", ".tga",
)  # fmt: skip
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


# What systems leave in folders beside what people put there; what begins with a dot is hidden as well.
_LEFT_BEHIND = ("__macosx", "@eadir", "$recycle.bin", "system volume information", "lost+found")


def passed_over(name: str) -> bool:
    """Whether a file or folder of that name is hidden, or left there by a system and nobody's data."""
    return name.startswith(".") or name.lower() in _LEFT_BEHIND


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


def as_picture(image: Picture) -> Image.Image:
    """A picture or its path as PIL image.

    Files are turned upright by their EXIF orientation; PIL images and arrays are taken as they lie.

    Args:
        image: path, PIL image, or array (h, w, 3), uint8, RGB.

    Raises:
        FileNotFoundError: nothing at that path.
        TypeError: none of these.
        ValueError: a file that cannot be read as a picture, or an array of another shape or type.
    """
    if isinstance(image, Image.Image):
        return image
    if isinstance(image, np.ndarray):
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise ValueError(
                f"Got an array of shape {image.shape}, {image.dtype}; expected (h, w, 3), uint8, RGB. Floats in [0, 1] "
                "of the model's input size go in as a tensor (3, H, W)."
            )
        return Image.fromarray(image)
    if not isinstance(image, (str, os.PathLike)):
        raise TypeError(
            f"Got a {type(image).__name__}, expected a path, a PIL image, an array (h, w, 3) of uint8, or a tensor."
        )
    if not Path(image).is_file():
        raise FileNotFoundError(f"Found no picture at {os.fspath(image)}.")
    try:
        return decode(image)
    except UnreadableImageError as error:
        raise ValueError(
            f"{os.fspath(image)} cannot be read as a picture ({error}): give a JPEG, PNG or the like."
        ) from error


def as_inputs(image: Picture | Sequence[Picture] | Tensor, preprocess: Preprocess) -> tuple[Tensor, list[str]]:
    """What users give to be explained -> inputs (B, 3, H, W), float32, and a name for each, "" where it has none.

    Args:
        image: one picture or a list of them, see `as_picture`; or a tensor (3, H, W) or (B, 3, H, W), taken as it is.
        preprocess: geometry of the inputs.

    Raises:
        FileNotFoundError, TypeError: see `as_picture`.
        ValueError: see there; or an empty list.
    """
    if isinstance(image, Tensor):
        inputs = image.unsqueeze(0) if image.ndim == 3 else image
        return inputs, [""] * len(inputs)
    pictures = image if isinstance(image, (list, tuple)) else [image]
    if not pictures:
        raise ValueError("Got an empty list, expected at least one picture or path.")
    names = [printable(each) if isinstance(each, (str, os.PathLike)) else "" for each in pictures]
    return torch.stack([preprocess(as_picture(each)) for each in pictures]), names


def walk_images(
    folder: Path, *, without: Path | None = None, suffixes: Sequence[str] = IMAGE_SUFFIXES
) -> Iterator[Path]:
    """Pictures under `folder` by suffix, relative to it, in the order of their names, folder by folder.

    Only the names of the folder at hand and of those above it are held. Hidden entries are left out; links to
    files are followed, links to folders are not (they may lead in a circle).

    Args:
        folder: where to look.
        without: a folder that is not looked into, such as that of the results.
        suffixes: in small letters, where other files are looked for.

    Raises:
        OSError: `folder` or one below it cannot be read.
    """
    skipped = without.resolve() if without is not None else None

    def fail(error: OSError) -> None:
        raise error

    for root, folders, names in os.walk(folder, onerror=fail):
        here = Path(root)
        folders[:] = sorted(name for name in folders if not passed_over(name) and (here / name).resolve() != skipped)
        for name in sorted(names):
            if not passed_over(name) and os.path.splitext(name)[1].lower() in suffixes:
                yield (here / name).relative_to(folder)
