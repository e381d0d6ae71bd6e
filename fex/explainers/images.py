"""How images are read and explained: what trained explainers and all other methods ask of the modality."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from fex.checks import check_inputs
from fex.explainers.trained import AmortizedExplainer
from fex.explanations.image import Explanation
from fex.images.features import PatchGrid
from fex.images.files import Picture, as_inputs, as_picture
from fex.images.preprocess import Preprocess
from fex.modality import Features, Modality, Reading
from fex.nets.trunk import put_trunk

__all__ = ["AmortizedImageExplainer", "ImageModality"]


class AmortizedImageExplainer(AmortizedExplainer):
    """A trained explainer of images."""

    def open(self, image: Picture) -> Tensor:
        """A picture or its path -> (3, H, W) in [0, 1]; errors as of `fex.images.as_picture`."""
        return self.preprocess(as_picture(image))


class ImageReading(Reading):
    """Pictures, all in one pass."""

    def result(
        self, number: int, values: Sequence[Tensor], features: Features, named: Mapping[str, Any]
    ) -> Explanation:
        """The map over the features of an image."""
        image, size = self.inputs[number], (self.inputs.shape[-2], self.inputs.shape[-1])
        return Explanation(values[0], features, size, image=image, **named)  # type: ignore[arg-type]


class ImageModality(Modality):
    """Images: (B, 3, H, W), float32, RGB in [0, 1]."""

    name = "image"
    explainer = AmortizedImageExplainer

    def preprocess(self, data: Mapping[str, Any]) -> Preprocess:
        return Preprocess(**data)

    def features(self, meta: Mapping[str, Any]) -> PatchGrid:
        return PatchGrid(*meta["grid"])

    def of_inputs(self, inputs: Tensor, preprocess: Preprocess) -> PatchGrid:  # noqa: ARG002 the contract
        return PatchGrid(inputs.shape[-2], inputs.shape[-1])

    def read(self, given: Any, preprocess: Preprocess) -> ImageReading:  # type: ignore[override]
        """Pictures, their paths, or a tensor; see `fex.images.as_inputs`."""
        inputs, names = as_inputs(given, preprocess)
        return ImageReading(names, inputs)

    def complete(
        self,
        net: nn.Module,
        tensors: Mapping[str, Tensor],
        meta: Mapping[str, Any],
        backbone: str | Path | None,
    ) -> tuple[Mapping[str, Tensor], Mapping[str, Any]]:
        """The backbone of a file that leaves it out, from timm's hub or a local file."""
        return (put_trunk(net, tensors, meta, backbone) if "trunk" in meta else tensors), meta

    def check(self, inputs: Tensor, preprocess: Preprocess) -> None:
        check_inputs(inputs, preprocess.size)

    def misfit(self, own: Preprocess, other: Preprocess) -> str:
        return "" if own.size == other.size else f"takes {other.size} pixels and this explainer {own.size}"
