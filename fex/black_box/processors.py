"""From a transformers image processor's settings to the geometry and colours of a black box."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image

from fex.black_box.colour import as_colour
from fex.images.preprocess import Preprocess

__all__ = ["check_processor", "normalisation_of", "preprocess_of"]

RESAMPLE = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "box", 5: "hamming"}  # PIL's numbers
TOLERANCE = (
    6 / 255
)  # of a pixel; PIL's and torch's kernels differ by one or two steps, a shift by one pixel by far more
ODD_SIZES = ((150, 113), (97, 141))  # width and height of the pictures that a processor is tried on

RGB = tuple[float, float, float]


def _sides(size: int | Mapping[str, Any]) -> tuple[int, int] | None:
    """Height and width of a size that names both, or of a square; None of one that gives neither."""
    if isinstance(size, int):
        return size, size
    if size.get("height") and size.get("width"):
        return size["height"], size["width"]
    return (size["shortest_edge"], size["shortest_edge"]) if size.get("shortest_edge") else None


def _shortest(size: int | Mapping[str, Any]) -> int | None:
    """The length of the shorter side, where that is what a size says."""
    return None if isinstance(size, int) or size.get("height") else size.get("shortest_edge")


def preprocess_of(processor: Mapping[str, Any], image_size: int | Sequence[int] | None = None) -> Preprocess | None:
    """The geometry that a preprocessor_config.json describes, or None where it leaves the size open.

    Args:
        processor: its content, with the defaults of its class.
        image_size: of the model's config; the size where the processor neither resizes nor crops.
    """
    crop = _sides(processor["crop_size"]) if processor.get("do_center_crop") and processor.get("crop_size") else None
    resample = processor.get("resample")
    interpolation, corner = RESAMPLE[2 if resample is None else int(resample)], "floor"
    if not processor.get("do_resize"):
        if crop is None and image_size:
            height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
            return Preprocess(height, width, None, interpolation)
        return Preprocess(*crop, 0, interpolation, corner=corner) if crop else None
    size = processor.get("size")
    sides = _sides(size) if size else None
    if size is None or sides is None or (not isinstance(size, int) and size.get("longest_edge")):
        return None
    short, share = _shortest(size), processor.get("crop_pct")
    kind = str(processor.get("image_processor_type", "")).removesuffix("Fast")
    if kind.startswith("Levit") and short:
        short = int(256 / 224 * short)
    elif share is not None and (crop is not None or kind.startswith("PoolFormer")):
        short = int(sides[0] / share) if sides[0] == sides[1] else None
    elif share is not None:  # ConvNeXt: below 384 pixels a crop, from there on a squash
        if sides[0] < 384:
            return Preprocess(*sides, int(sides[0] / share), interpolation, corner=corner)
        short = None
    if short:
        return Preprocess(*(crop or sides), short, interpolation, corner=corner)
    if crop:
        return Preprocess(*crop, sides, interpolation, squash=True, corner=corner)
    return Preprocess(*sides, None, interpolation, squash=True)


def normalisation_of(processor: Mapping[str, Any]) -> tuple[RGB, RGB]:
    """Mean and std that turn pixels in [0, 1] into what the model takes.

    The processor computes (v - m) / s on v = 255 f x (- 1 with an offset), where f is its rescale factor; that is
    (x - mean) / std with mean = (m + offset) / (255 f) and std = s / (255 f).
    """
    factor = 255.0 * (processor["rescale_factor"] if processor.get("do_rescale") else 1.0)
    offset = 1.0 if processor.get("rescale_offset") else 0.0
    given = bool(processor.get("do_normalize"))
    mean = as_colour(processor["image_mean"]) if given else (0.0, 0.0, 0.0)
    std = as_colour(processor["image_std"]) if given else (1.0, 1.0, 1.0)
    if processor.get("include_top"):  # EfficientNet divides by the std once more
        own = as_colour(processor["image_std"])
        std = (std[0] * own[0], std[1] * own[1], std[2] * own[2]) if given else own
    red, green, blue = ((value + offset) / factor for value in mean)
    red_std, green_std, blue_std = (value / factor for value in std)
    return (red, green, blue), (red_std, green_std, blue_std)


def check_processor(processor: Any, preprocess: Preprocess, mean: RGB, std: RGB, *, channels: int, name: str) -> None:
    """Tries a processor on two small pictures: what was read from its settings must give what it gives.

    Raises:
        ValueError: it does something else, too: then the model would be asked about other pictures than it knows.
    """
    flips = bool(getattr(processor, "do_flip_channel_order", False))
    for width, height in ODD_SIZES:
        picture = _try_picture(width, height)
        if not getattr(processor, "do_resize", False) and not getattr(processor, "do_center_crop", False):
            picture = picture.resize(preprocess.size[::-1])
        picture = picture.convert("L") if channels == 1 else picture
        ours = preprocess(picture)[:channels]
        shape = (channels, 1, 1)
        ours = (ours - torch.tensor(mean[:channels]).view(shape)) / torch.tensor(std[:channels]).view(shape)
        try:
            given = np.asarray(picture)[..., None] if channels == 1 else picture  # older ones cannot take grey pictures
            theirs = torch.as_tensor(np.asarray(processor(given, return_tensors="pt")["pixel_values"][0])).float()
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise ValueError(f"The image processor of {name!r} fails on a picture ({error}): {_SET}") from error
        if flips:
            theirs = theirs.flip(0)
        if theirs.shape != ours.shape:
            raise ValueError(
                f"The image processor of {name!r} ({type(processor).__name__}) gives pictures of shape "
                f"{tuple(theirs.shape)}, its settings say {tuple(ours.shape)}: {_SET}"
            )
        off = float(((theirs - ours).abs() * torch.tensor(std[:channels]).view(shape)).quantile(0.99))
        if not off <= TOLERANCE:
            raise ValueError(
                f"The image processor of {name!r} ({type(processor).__name__}) does more than its settings say (pixels "
                f"differ by {off:.2g} of their range): {_SET}"
            )


_SET = "set `preprocess`, `mean` and `std` to how its images are to be prepared."


def _try_picture(width: int, height: int) -> Image.Image:
    """Waves of several lengths in each colour, so that a shift by a pixel shows and a kernel's rounding does not."""
    y, x = np.mgrid[0:height, 0:width]
    waves = [np.sin(x / 5 + y / 9), np.cos(x / 11 - y / 6), np.sin((x + y) / 7)]
    return Image.fromarray((np.stack(waves, 2) * 100 + 128).astype(np.uint8))
