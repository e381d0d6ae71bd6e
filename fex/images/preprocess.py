"""From a picture file to the tensor the black box expects; plain data, so that a checkpoint can carry it."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from PIL import Image
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as TF

__all__ = ["Preprocess", "to_rgb"]


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


INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos", "box", "hamming")


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

    def _resized(self, image: Image.Image, mode: InterpolationMode) -> Image.Image:
        if self.squash:
            sides = self.resize if isinstance(self.resize, tuple) else self.size
            return TF.resize(image, list(sides), mode)
        if self.resize == 0:
            return image
        if isinstance(self.resize, tuple):
            width, height = image.size
            share = min(height / self.resize[0], width / self.resize[1])
            return TF.resize(image, [round(height / share), round(width / share)], mode)
        short = max(self.size) if self.resize is None else self.resize
        if min(image.size) != short:
            # A 1 x 10000 strip would be enlarged to gigabytes before its crop: cut it first, centrally like the crop.
            width, height = image.size
            limit = 4 * min(width, height) * max(1, -(-max(self.size) // short))
            if max(width, height) > limit:
                image = TF.center_crop(image, [min(height, limit), min(width, limit)])
            image = TF.resize(image, short, mode)
        return image

    def _cropped(self, image: Image.Image) -> Image.Image:
        if self.corner == "floor":  # towards zero: the upper and left border is the narrower one, too
            left, top = int((image.width - self.width) / 2), int((image.height - self.height) / 2)
            return TF.crop(image, top, left, self.height, self.width)
        return TF.center_crop(image, [self.height, self.width])

    def crop(self, image: Image.Image) -> Image.Image:
        """The RGB picture the model sees, as PIL, (width, height) pixels."""
        return self._cropped(self._resized(to_rgb(image), InterpolationMode(self.interpolation)))

    def __call__(self, image: Image.Image) -> Tensor:
        """PIL image of any mode and size -> float32 (3, H, W) in [0, 1]."""
        return TF.pil_to_tensor(self.crop(image)).float().div_(255.0)

    def mask(self, image: Image.Image) -> Tensor:
        """A ground-truth mask under the same geometry -> bool (H, W); foreground is anything above half."""
        grey = self._cropped(self._resized(image.convert("L"), InterpolationMode.NEAREST))
        return TF.pil_to_tensor(grey)[0] > 127

    def to_dict(self) -> dict[str, Any]:
        """Plain data for a checkpoint; ``Preprocess(**data)`` restores it."""
        return asdict(self)
