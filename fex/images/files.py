"""Pictures as users have them: files, found in folders of any size, and what else is taken for a picture."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from fex.images.decoding import UnreadableImageError, decode
from fex.images.preprocess import Preprocess
from fex.storage.names import printable

__all__ = [
    "IMAGE_SUFFIXES",
    "Picture",
    "as_inputs",
    "as_picture",
    "passed_over",
    "walk_images",
]

Picture = str | os.PathLike[str] | Image.Image | np.ndarray

IMAGE_SUFFIXES = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".avif", ".jp2", ".ppm", ".pgm",
    ".pbm", ".pnm", ".tga",
)  # fmt: skip


# What systems leave in folders beside what people put there; what begins with a dot is hidden as well.
_LEFT_BEHIND = ("__macosx", "@eadir", "$recycle.bin", "system volume information", "lost+found")


def passed_over(name: str) -> bool:
    """Whether a file or folder of that name is hidden, or left there by a system and nobody's data."""
    return name.startswith(".") or name.lower() in _LEFT_BEHIND


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
