"""From a picture file to the tensor the black box expects; plain data, so that a checkpoint can carry it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from fex.keywords import check_keywords, keywords_of

__all__ = ["Preprocess", "as_preprocess", "as_unit", "to_rgb"]


def as_unit(pixels: Tensor) -> Tensor:
    """Bytes (0 ... 255) as float32 in [0, 1], on whatever device they are; what is float already is passed on."""
    return pixels.float().div_(255.0) if pixels.dtype == torch.uint8 else pixels


def to_rgb(image: Image.Image) -> Image.Image:
    """Any PIL mode (grey, palette, CMYK, 16 bit, float, transparent) as 8-bit RGB; transparency is laid on white.

    Raises:
        ValueError: pixels that are not finite, or whose white cannot be told, see `_grey`.
    """
    if image.mode == "RGB":
        return image
    if image.mode.startswith("I") or image.mode == "F":  # PIL's convert would clip, not scale
        return _grey(image).convert("RGB")
    if image.mode in ("RGBa", "La"):  # colours already multiplied by their opacity
        image = image.convert("RGBA" if image.mode == "RGBa" else "LA")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, layer).convert("RGB")
    return image.convert("RGB")


def _grey(image: Image.Image) -> Image.Image:
    """Grey of 16 or 32 bit, integer or float, as 8 bit: white is the largest value of its code, not of the picture.

    16 bit: 65535. Floats up to 1: 1. Other 32-bit pixels, which files write in several codes: 255 where none is
    larger, else 65535.

    Raises:
        ValueError: NaN or infinite pixels, negative ones, or larger ones; says which.
    """
    pixels = np.asarray(image)
    bad = pixels.size - int(np.isfinite(pixels).sum())
    if bad:
        raise ValueError(f"{bad:,} of {pixels.size:,} pixels are NaN or infinite")
    low, high = (float(pixels.min()), float(pixels.max())) if pixels.size else (0.0, 0.0)
    if low < 0 or high > 65535:
        raise ValueError(f"pixels from {low:g} to {high:g}, expected 0 ... 1, 0 ... 255 or 0 ... 65535: save it so")
    if image.mode.startswith("I;16") or high > 255:
        white = 65535.0
    else:
        white = 1.0 if image.mode == "F" and high <= 1 else 255.0
    scaled = pixels.astype(np.float32)
    scaled *= 255.0 / white
    return Image.fromarray(np.rint(scaled, out=scaled).astype(np.uint8))


INTERPOLATIONS = {
    "nearest": Image.Resampling.NEAREST, "bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS, "box": Image.Resampling.BOX, "hamming": Image.Resampling.HAMMING,
}  # fmt: skip


def _window(side: int, crop: int) -> int:
    """Where the centre of a side begins: at the nearest pixel, halves at the even one; before 0 where it is longer."""
    return -((crop - side) // 2) if crop > side else round((side - crop) / 2)


@dataclass(frozen=True)
class Preprocess:
    """Resize, crop the centre, scale to [0, 1].

    Normalisation is not part of it: the black box and the explainer each apply their own mean and std, so that
    removals and pictures share one pixel space.

    Args:
        height: height of the result in pixels.
        width: width of the result in pixels.
        resize: length of the shorter side before the crop in pixels, by default the larger of height and width; or
            (height, width) that the picture is to cover with its aspect ratio kept; 0 leaves its size as it is. What is
            smaller than the crop gets a black border.
        interpolation: "bicubic", "bilinear", "nearest", "lanczos", "box" or "hamming".
        squash: resize without keeping the aspect ratio, to the (height, width) in `resize`, by default those of the
            result.
        corner: where a crop begins whose margin is odd: "nearest" pixel (halves to the even one), as torchvision's and
            timm's, or "floor", as that of transformers.

    Raises:
        ValueError: a size that is not positive, or an unknown interpolation or corner.
    """

    height: int = 224
    width: int = 224
    resize: int | tuple[int, int] | None = None
    interpolation: str = "bicubic"
    squash: bool = False
    corner: Literal["nearest", "floor"] = "nearest"

    def __post_init__(self) -> None:
        if isinstance(self.resize, list | tuple):
            object.__setattr__(self, "resize", tuple(self.resize))  # JSON and YAML have lists
        sides = self.resize if isinstance(self.resize, tuple) else (1, 1)
        shorter = self.resize if isinstance(self.resize, int) else 0
        if min(self.height, self.width, *sides) < 1 or len(sides) != 2 or shorter < 0:
            raise ValueError(f"Preprocess sizes must be positive, got {self}. Give the model's input size in pixels.")
        if self.interpolation not in INTERPOLATIONS:
            raise ValueError(f"Got interpolation {self.interpolation!r}, expected one of {', '.join(INTERPOLATIONS)}.")
        if self.corner not in ("nearest", "floor"):
            raise ValueError(f"Got corner {self.corner!r}, expected 'nearest' or 'floor'.")

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) in pixels."""
        return self.height, self.width

    def _sides(self, width: int, height: int) -> tuple[tuple[int, int], tuple[int, int]]:
        """(width, height) of the centre that is kept, and to which it is resized."""
        if self.squash:
            height_to, width_to = self.resize if isinstance(self.resize, tuple) else self.size
            return (width, height), (width_to, height_to)
        if isinstance(self.resize, tuple):
            share = min(height / self.resize[0], width / self.resize[1])
            return (width, height), (round(width / share), round(height / share))
        short = max(self.size) if self.resize is None else self.resize
        if self.resize == 0 or min(width, height) == short:
            return (width, height), (width, height)
        # A 1 x 10000 strip would be enlarged to gigabytes before its crop: cut it first, centrally like the crop.
        limit = 4 * min(width, height) * max(1, -(-max(self.size) // short))
        width, height = min(width, limit), min(height, limit)
        to = (short, short * height // width) if width <= height else (short * width // height, short)
        return (width, height), to

    def _corner(self, width: int, height: int) -> tuple[int, int]:
        """(left, top) of the crop; before 0 where the picture is smaller, which gets a black border."""
        if self.corner == "floor":  # towards zero: the upper and left border is the narrower one, too
            return int((width - self.width) / 2), int((height - self.height) / 2)
        return _window(width, self.width), _window(height, self.height)

    def _fitted(self, image: Image.Image, mode: Image.Resampling) -> Image.Image:
        kept, to = self._sides(*image.size)
        if kept != image.size:
            left, top = (_window(side, keep) for side, keep in zip(image.size, kept, strict=True))
            image = image.crop((left, top, left + kept[0], top + kept[1]))
        if to != image.size:
            image = image.resize(to, mode)
        left, top = self._corner(*image.size)
        if (left, top, *image.size) == (0, 0, self.width, self.height):
            return image
        return image.crop((left, top, left + self.width, top + self.height))

    def crop(self, image: Image.Image) -> Image.Image:
        """The RGB picture the model sees, as PIL, (width, height) pixels."""
        return self._fitted(to_rgb(image), INTERPOLATIONS[self.interpolation])

    def pixels(self, image: Image.Image) -> Tensor:
        """PIL image of any mode and size -> uint8 (3, H, W)."""
        return torch.from_numpy(np.array(self.crop(image))).permute(2, 0, 1)

    def fit(self, pixels: Tensor) -> Tensor | None:
        """As `pixels`, of decoded pixels (3, h, w), uint8, in half the time; values differ by 1 of 255 here and there.

        None where the interpolation is neither bilinear nor bicubic, the two that torch has for bytes, or where the
        aspect ratio changes: torch then cuts off what overshoots at another place.
        """
        height, width = pixels.shape[1:]
        kept, to = self._sides(width, height)
        stretched = abs(kept[0] * to[1] - kept[1] * to[0]) > max(kept)  # by more than the rounding to whole pixels
        if self.interpolation not in ("bilinear", "bicubic") or stretched:
            return None
        left, top = _window(width, kept[0]), _window(height, kept[1])
        pixels = pixels[:, top : top + kept[1], left : left + kept[0]]
        if to != kept:
            size = (to[1], to[0])
            pixels = F.interpolate(pixels[None], size, mode=self.interpolation, align_corners=False, antialias=True)[0]
        left, top = self._corner(*to)
        pixels = pixels[:, max(top, 0) : max(top + self.height, 0), max(left, 0) : max(left + self.width, 0)]
        missing = self.height - pixels.shape[1], self.width - pixels.shape[2]
        if not any(missing):
            return pixels
        before = max(-left, 0), max(-top, 0)
        return F.pad(pixels, (before[0], missing[1] - before[0], before[1], missing[0] - before[1]))

    def __call__(self, image: Image.Image) -> Tensor:
        """PIL image of any mode and size -> float32 (3, H, W) in [0, 1]."""
        return as_unit(self.pixels(image))

    def mask(self, image: Image.Image) -> Tensor:
        """A ground-truth mask under the same geometry -> bool (H, W); foreground is anything above half."""
        return torch.from_numpy(np.array(self._fitted(image.convert("L"), Image.Resampling.NEAREST))) > 127

    def to_dict(self) -> dict[str, Any]:
        """Plain data for a checkpoint; ``Preprocess(**data)`` restores it."""
        return asdict(self)


def as_preprocess(given: Any) -> Preprocess:
    """A geometry as it was given: itself, or a mapping of its arguments.

    Raises:
        ValueError: neither of them.
        TypeError: a key that there is none of.
    """
    if isinstance(given, Mapping):
        check_keywords(given, keywords_of(Preprocess), what="preprocess")
        return Preprocess(**given)
    if isinstance(given, Preprocess):
        return given
    raise ValueError(
        f"Got preprocess of type {type(given).__name__}, expected fex.images.Preprocess or a mapping such as "
        "{'height': 224, 'width': 224}; `mean` and `std` are given beside it."
    )
