"""From the bytes or the path of a picture of any kind to pixels, or to a counted skip."""

import io
import logging
import os
import warnings

import torch
from PIL import Image

from fex.preprocess import to_rgb

__all__ = ["MAX_PIXELS", "Skips", "UnreadableImageError", "decode"]

MAX_PIXELS = 100_000_000  # 400 MB as RGBX, what PIL needs to decode
_NAMED = 5

log = logging.getLogger("datamodules")


class UnreadableImageError(ValueError):
    """The picture is corrupt, cut off, no picture or too large."""


def decode(source: bytes | str | os.PathLike[str]) -> Image.Image:
    """Decodes a picture of any PIL mode as 8-bit RGB.

    EXIF rotation is ignored, as is usual for ImageNet. A JPEG of more than `MAX_PIXELS` is decoded at 1/2, 1/4 or 1/8;
    other formats of that size are refused before they are decoded (decompression bombs).

    Args:
        source: encoded bytes, or a path.

    Raises:
        UnreadableImageError: with the reason.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the check below is stricter
            image = Image.open(io.BytesIO(source) if isinstance(source, bytes) else source)
        with image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                scale = (MAX_PIXELS / (width * height)) ** 0.5
                image.draft(None, (int(width * scale / 2), int(height * scale / 2)))
            if image.width * image.height > MAX_PIXELS:
                raise UnreadableImageError(f"{width} x {height} pixels, the limit is {MAX_PIXELS:,}")
            return to_rgb(image).copy() if image.mode == "RGB" else to_rgb(image)
    except (MemoryError, UnreadableImageError):
        raise
    except (
        Exception
    ) as error:  # PIL's plugins raise a dozen kinds (OSError, SyntaxError, struct.error, zlib.error, ...)
        raise UnreadableImageError(str(error) or type(error).__name__) from error


class Skips:
    """Counts pictures that could not be read, over all loader processes, and logs the first few.

    Args:
        slots: rows of a data set (each is counted once), or loader processes of a stream.
    """

    def __init__(self, slots: int) -> None:
        self._counts = torch.zeros(slots, dtype=torch.int32).share_memory_()

    def __len__(self) -> int:
        return int(self._counts.sum())

    def row(self, index: int, name: str, error: Exception) -> None:
        """Notes row `index` of a data set."""
        if self._counts[index] == 0:
            self._counts[index] = 1
            self._tell(name, error)

    def stream(self, worker: int, name: str, error: Exception) -> None:
        """Notes a picture met by loader process `worker`."""
        self._counts[worker] += 1
        self._tell(name, error)

    def _tell(self, name: str, error: Exception) -> None:
        count = len(self)
        if count <= _NAMED:
            log.warning("Skipped an image that cannot be read: %s (%s).", name, error)
        if count == _NAMED:
            log.warning("Further unreadable images are counted, not named.")
