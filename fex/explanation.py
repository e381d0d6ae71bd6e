"""The explanation of one instance: what was found, for which class, by which method, at what cost."""

import io
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from torch import Tensor

from fex.atomic import replacing
from fex.features import PatchGrid

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["Explanation", "on_one_line", "printable"]

SUFFIXES = (".png", ".html", ".npz", ".json")


def printable(name: str | os.PathLike[str]) -> str:
    """A file name as text that can be encoded: bytes that are no UTF-8 become the replacement character."""
    return os.fsencode(name).decode("utf-8", "replace")


def on_one_line(text: str) -> str:
    """The text with line breaks, control and other invisible characters replaced: file names may hold any."""
    return "".join(character if character.isprintable() else "\ufffd" for character in text)


@dataclass(frozen=True, eq=False)
class Explanation:
    """Attribution of the N features of one image for one class.

    Args:
        attribution: (N,), float32; for FEX the probability of keeping each feature, in [0, 1].
        features: where the N features lie.
        size: (H, W) of the input in pixels.
        target: index of the explained class.
        target_name: its name.
        probability: of the explained class, in [0, 1].
        probability_of: whose estimate that is: the explainer's own, or the black box's answer.
        method: explainer's name.
        removal: what removed features were replaced by in its making.
        black_box: name of what is explained.
        queries: black-box queries spent on it.
        seconds: wall time of its batch divided by the batch's instances; in a process's first batches that includes
            the warm-up of the library.
        source: name of the picture.
        image: the input (3, H, W), float, RGB in [0, 1]; only pictures need it.

    Raises:
        ValueError: attribution of another shape, or not finite.
    """

    attribution: Tensor = field(repr=False)
    features: PatchGrid
    size: tuple[int, int]
    target: int
    target_name: str
    probability: float
    probability_of: Literal["explainer", "black box"]
    method: str
    removal: str
    black_box: str
    queries: int = 0
    seconds: float = 0.0
    source: str = ""
    image: Tensor | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if tuple(self.attribution.shape) != (self.features.num_features,):
            raise ValueError(
                f"Explanation got an attribution of shape {tuple(self.attribution.shape)}, expected "
                f"({self.features.num_features},), one value a feature of {self.features}."
            )
        if not bool(self.attribution.isfinite().all()):
            raise ValueError(
                f"The attribution of {self.source or 'the input'} for class {self.target_name!r} is not finite: the "
                "explainer's weights or its input are broken; check the checkpoint and the picture."
            )
        object.__setattr__(self, "attribution", self.attribution.detach().float().cpu())

    @property
    def grid(self) -> np.ndarray:
        """Attribution as (height, width) of the patch grid, float32."""
        return self.attribution.reshape(self.features.height, self.features.width).numpy()

    @property
    def estimated_by(self) -> str:
        """Whose estimate `probability` is, for captions."""
        return "explainer's estimate" if self.probability_of == "explainer" else "the black box's"

    def pixels(self) -> Tensor:
        """Attribution of each pixel, (H, W), float32: the value of its patch."""
        return self.features.expand(self.attribution, self.size)

    def to_dict(self) -> dict[str, Any]:
        """Plain data without the picture; attribution row by row of the grid."""
        rows = [[float(f"{value:.7g}") for value in row] for row in self.grid.tolist()]  # what a float32 holds
        return {**self._meta(), "attribution": rows}

    def _meta(self) -> dict[str, Any]:
        return {
            "source": self.source,
            "target": {"index": self.target, "name": self.target_name},
            "probability": self.probability,
            "probability_of": self.probability_of,
            "method": self.method,
            "black_box": self.black_box,
            "removal": self.removal,
            "features": {"kind": "PatchGrid", "height": self.features.height, "width": self.features.width},
            "size": list(self.size),
            "queries": self.queries,
            "seconds": self.seconds,
        }

    def to_image(self) -> "Image.Image":
        """Picture, map and overlay side by side under a title line."""
        from fex.report.heatmap import explanation_panel

        return explanation_panel(self)

    def _repr_png_(self) -> bytes:
        """How notebooks show it."""
        buffer = io.BytesIO()
        self.to_image().save(buffer, "PNG")
        return buffer.getvalue()

    def save(self, path: str | Path) -> Path:
        """Writes it in the format of the suffix; the file appears whole or not at all.

        - ``.png``: see `to_image`.
        - ``.html``: the same on a self-contained page.
        - ``.npz``: ``attribution`` (height, width) float32 and ``meta``, a JSON text of the rest;
          ``numpy.load(path)`` reads it without pickle.
        - ``.json``: see `to_dict`.

        Returns:
            The path.

        Raises:
            ValueError: another suffix.
            OSError: the place cannot be written; names it.
        """
        path = Path(path)
        suffix = path.suffix.lower()
        if suffix not in SUFFIXES:
            raise ValueError(f"Cannot save an explanation as {path.name!r}: end the name in one of {SUFFIXES}.")
        if suffix == ".html":
            from fex.report.html import write_page

            write_page(path, [[self]])
            return path
        panel = self.to_image() if suffix == ".png" else None
        with replacing(path) as part, part.open("wb") as file:
            if panel is not None:
                panel.save(file, "PNG", compress_level=1)  # level 6 costs five times the time for a tenth of the size
            elif suffix == ".npz":
                np.savez(file, attribution=self.grid, meta=np.array(json.dumps(self._meta())))
            else:
                file.write(json.dumps(self.to_dict(), ensure_ascii=False).encode("utf-8"))
        return path
