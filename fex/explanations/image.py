"""The explanation of one instance: what was found, for which class, by which method, at what cost."""

import io
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from torch import Tensor

from fex.explanations.base import FIGURES, BaseExplanation
from fex.images.features import PatchGrid

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["Explanation"]

SUFFIXES = (".png", ".jpg", ".webp", ".html", ".npz", ".json")
_LOSSY = {".jpg": {"format": "JPEG", "quality": 85}, ".webp": {"format": "WEBP", "quality": 80, "method": 2}}


@dataclass(frozen=True, eq=False)
class Explanation(BaseExplanation):
    """Attribution of the N features of one image for one class.

    It is saved as ``.png``, ``.jpg`` or ``.webp`` (see `to_image`), ``.html`` (the same on a self-contained page),
    ``.pdf`` or ``.svg`` (see `plot`), ``.json`` (see `to_dict`) or ``.npz``: ``attribution`` (height, width), float32,
    ``standard_error`` where known, and ``meta``, a JSON text of the rest; ``numpy.load(path)`` reads it without pickle.

    Args:
        attribution: (N,), float32; for FEX the probability of keeping each feature, in [0, 1].
        features: where the N features lie.
        size: (H, W) of the input in pixels.
        image: the input (3, H, W), float, RGB in [0, 1]; only pictures need it.
        **named: see `BaseExplanation`.

    Raises:
        ValueError: attribution of another shape, or not finite.
    """

    attribution: Tensor = field(repr=False)
    features: PatchGrid
    size: tuple[int, int]
    image: Tensor | None = field(default=None, repr=False)

    suffixes: ClassVar[tuple[str, ...]] = (*SUFFIXES, *FIGURES)

    def __post_init__(self) -> None:
        if tuple(self.attribution.shape) != (self.features.num_features,):
            raise ValueError(
                f"Explanation got an attribution of shape {tuple(self.attribution.shape)}, expected "
                f"({self.features.num_features},), one value a feature of {self.features}."
            )
        self._own("attribution", self.attribution)

    @property
    def scores(self) -> Tensor:
        """The attribution, (N,), float32, under the name that texts have for theirs too."""
        return self.attribution

    @property
    def shown(self) -> np.ndarray:
        """The attribution."""
        return self.attribution.numpy()

    @property
    def grid(self) -> np.ndarray:
        """Attribution as (height, width) of the patch grid, float32."""
        return self.attribution.reshape(self.features.height, self.features.width).numpy()

    def pixels(self) -> Tensor:
        """Attribution of each pixel, (H, W), float32: the value of its patch."""
        return self.features.expand(self.attribution, self.size)

    def to_dict(self) -> dict[str, Any]:
        """Plain data without the picture; attribution row by row of the grid."""
        rows = [[float(f"{value:.7g}") for value in row] for row in self.grid.tolist()]  # what a float32 holds
        errors = {} if self.std is None else {"standard_error": [
            [float(f"{value:.4g}") for value in row] for row in self.std.view(self.grid.shape).tolist()]}  # fmt: skip
        return {**self._meta(), "attribution": rows, **errors}

    def _meta(self) -> dict[str, Any]:
        grid = {"kind": "PatchGrid", "height": self.features.height, "width": self.features.width}
        return {**super()._meta(), "features": grid, "size": list(self.size)}

    def to_image(self) -> "Image.Image":
        """Picture, map and overlay side by side under a title line."""
        return self._drawn("picture")

    def _repr_png_(self) -> bytes:
        """How notebooks show it."""
        buffer = io.BytesIO()
        self.to_image().save(buffer, "PNG")
        return buffer.getvalue()

    def _encoded(self, suffix: str) -> bytes:
        buffer = io.BytesIO()
        if suffix == ".png":
            self.to_image().save(buffer, "PNG", compress_level=1)  # 6 takes five times the time for a tenth of the size
        elif suffix in _LOSSY:
            self.to_image().convert("RGB").save(buffer, **_LOSSY[suffix])
        else:
            errors = {} if self.std is None else {"standard_error": self.std.view(self.grid.shape).numpy()}
            np.savez(buffer, attribution=self.grid, meta=np.array(json.dumps(self._meta())), **errors)
        return buffer.getvalue()
