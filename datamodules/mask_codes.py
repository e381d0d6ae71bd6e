"""What the values of a ground-truth mask mean: the object, the rest, and pixels that are not counted.

Data sets write masks in several codes, and one read as another is a full table of wrong figures. Three are told from
the values alone: black and white, 0 and 1, the indices of a palette. Anything else is refused until somebody says what
it is.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from fex.images import UnreadableImageError, decode_raw

__all__ = ["Coded", "Foreground", "MaskCode", "read_mask"]

Foreground = int | list[int] | str | None
WORDS = ("nonzero", "bright")
SAMPLED = 64  # masks that tell the code of a data set
SOFT_SHARE, SOFT_VALUES = 0.2, 8  # of edges that fade: few pixels, of many values
_NOISE = 16  # by which the colours of a grey JPEG differ
_ADVICE = (
    "Say what they mean: `foreground` is the value of the object or a list of them, `nonzero` (all but 0), or `bright` "
    "(above half of white); `ignore` is the value of pixels that are not counted."
)


class Coded(NamedTuple):
    """A mask's values as they are stored.

    Attributes:
        values: (h, w), of an integer type, or floats.
        white: the value of white in it.
        palette: whether they are indices of colours.
        soft: whether values between black and white are shades of an edge.
    """

    values: np.ndarray
    white: int
    palette: bool
    soft: bool

    @property
    def found(self) -> set[float]:
        """The values that occur."""
        return {each.item() for each in np.unique(self.values)}


def read_mask(path: str | Path) -> Coded:
    """Values of a mask file, without a palette's colours.

    Raises:
        UnreadableImageError: it cannot be decoded.
        ValueError: it has colours or transparency, which are no values.
    """
    image = decode_raw(path)
    lossy = Path(path).suffix.lower() in (".jpg", ".jpeg", ".jpe", ".jfif", ".webp")
    if image.mode == "P":
        values = np.asarray(image)
        used = [tuple(_palette(image)[index]) for index in np.unique(values)]
        if sorted(used) != [(0, 0, 0), (255, 255, 255)]:
            return Coded(values, 255, palette=True, soft=False)
        image = image.convert("L")  # black and white in whatever order: a picture of the object
    values = np.asarray(image.convert("L") if image.mode == "1" else image)
    if values.ndim == 3:
        values = _without_colours(values, image.mode, path, lossy=lossy)
    white = 255 if values.max(initial=0) <= 255 else 65535
    between = (values > 0) & (values < white)
    soft = lossy or (between.mean() <= SOFT_SHARE and len(np.unique(values[between])) >= SOFT_VALUES)
    return Coded(values, white, palette=False, soft=bool(soft))


def _palette(image: Image.Image) -> np.ndarray:
    """Colours (256, 3) of a palette, black where it ends."""
    colours = np.frombuffer(bytes(image.getpalette("RGB") or ()), np.uint8).reshape(-1, 3)
    return np.concatenate([colours, np.zeros((256 - len(colours), 3), np.uint8)])


def _without_colours(values: np.ndarray, mode: str, path: str | Path, *, lossy: bool) -> np.ndarray:
    """Grey (h, w) of a picture (h, w, c) that has no other colours."""
    alpha = values.shape[2] in (2, 4) and mode != "CMYK"
    colours = values[..., :-1] if alpha else values
    if alpha and not bool((values[..., -1] == values[..., -1].max()).all()):
        raise ValueError(f"The mask {path} has transparent pixels: save it as grey values or palette indices.")
    spread = int((colours.max(2).astype(int) - colours.min(2)).max())
    if mode not in ("RGB", "RGBA", "LA") or spread > (_NOISE if lossy else 0):
        found = np.unique(colours.reshape(-1, colours.shape[2]), axis=0)
        shown = ", ".join(str(tuple(int(v) for v in colour)) for colour in found[:4])
        raise ValueError(
            f"The mask {path} is a picture of {len(found)} colours ({mode}: {shown}{', ...' * (len(found) > 4)}), "
            "which say nothing by themselves: save it as grey values or palette indices."
        )
    return colours[..., 0] if not lossy else colours.mean(2).round().astype(np.uint8)


@dataclass(frozen=True)
class MaskCode:
    """How the masks of a data set are read.

    Args:
        foreground: values of the object; "nonzero", "bright", or None to tell it from the masks.
        ignore: value of pixels that are not counted, where it is not one of the object; None where there is none.
        told: the code was told from some masks, so each of the others must have it too.

    Raises:
        ValueError: another word, or values that no mask can have.
    """

    foreground: Foreground = None
    ignore: int | None = 255
    told: bool = False

    def __post_init__(self) -> None:
        wanted = self.foreground
        listed = [wanted] if isinstance(wanted, int) else wanted
        right = wanted is None or wanted in WORDS
        if isinstance(listed, list):
            right = bool(listed) and all(isinstance(v, int) and not isinstance(v, bool) and v >= 0 for v in listed)
        if not right:
            words = " or ".join(map(repr, WORDS))
            raise ValueError(f"Got foreground={wanted!r}, expected values >= 0, {words}, or null.")

    def settled(self, files: Sequence[Path]) -> "MaskCode":
        """This code, or the one that some of the masks tell, where none is given.

        Raises:
            ValueError: masks of an unknown code, of two codes, or of which none has a foreground or none can be read.
        """
        few = [files[i] for i in np.linspace(0, len(files) - 1, min(SAMPLED, len(files))).round().astype(int)]
        masks, reason = {}, ""
        for path in few:
            try:
                masks[path] = read_mask(path)
            except UnreadableImageError as error:  # told and counted where the rows are read
                reason = reason or f"{path.name}: {error}"
        if not masks:
            raise ValueError(f"None of {len(few)} masks can be read ({reason}).")
        code = self if self.foreground is not None else self._told_by(masks)
        if code.foreground is None or not any(code.split(mask, path)[0].any() for path, mask in masks.items()):
            values = set().union(*(mask.found for mask in masks.values()))
            raise ValueError(
                f"None of {len(masks)} masks has a foreground, such as {few[0]}: their values are {_listed(values)}, "
                f"`foreground` is {self.foreground!r} and `ignore` {self.ignore!r}. {_ADVICE}"
            )
        return code

    def _told_by(self, masks: Mapping[Path, Coded]) -> "MaskCode":
        first: dict[str, Path] = {}
        for path, mask in masks.items():
            if (word := _word(mask, path, self.ignore)) is not None:
                first.setdefault(word, path)
        if len(first) > 1:
            (one, a), (other, b) = first.items()
            raise ValueError(f"The masks have two codes: {a} is {_SAID[one]}, {b} {_SAID[other]}. {_ADVICE}")
        return MaskCode(next(iter(first), None), self.ignore, told=True)

    def split(self, mask: Coded, path: str | Path) -> tuple[np.ndarray, np.ndarray]:
        """Foreground and pixels that are not counted, bool (h, w) each.

        Raises:
            ValueError: a mask of another code than the one that was told from some.
        """
        values = mask.values
        if self.told and _word(mask, path, self.ignore) not in (self.foreground, None):
            said = _SAID[str(self.foreground)]
            raise ValueError(f"The mask {path} has values {_listed(mask.found)}, others are {said}. {_ADVICE}")
        marked = np.zeros(values.shape, bool) if self.ignore is None else values == self.ignore
        if self.foreground == "bright":
            inside = (values > mask.white // 2) & (~marked | (self.ignore == mask.white))
        elif self.foreground == "nonzero":
            inside = (values != 0) & ~marked
        else:
            inside = np.isin(values, self.foreground)
        return inside, marked & ~inside


_SAID = {"bright": "black and white", "nonzero": "indices (0, 1, ...)"}


def _word(mask: Coded, path: str | Path, ignore: int | None) -> str | None:
    """The code that the values of one mask tell; None where there is nothing but 0, or but pixels not counted.

    Raises:
        ValueError: a code that cannot be told.
    """
    found = mask.found - {0}
    if mask.palette:
        return "nonzero" if found else None
    others = found - {ignore} if ignore != mask.white else found
    if not others:
        return None
    if others == {mask.white} or mask.soft:
        return "bright"
    if found <= {1, ignore}:
        return "nonzero"
    raise ValueError(f"The mask {path} has values {_listed(found | {0})}, which can mean several things. {_ADVICE}")


def _listed(values: Iterable[float], most: int = 12) -> str:
    shown = [f"{value:g}" for value in sorted(values)]
    return ", ".join(shown[:most]) + (f", ... ({len(shown)} values)" if len(shown) > most else "")
