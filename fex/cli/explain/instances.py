"""`fex-explain --method`: a per-instance explainer behind the interface of a trained one."""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from fex.black_box import BlackBox
from fex.black_box.compiler import tell_compiler
from fex.class_names import class_index
from fex.cli.explain.black_box_argument import chosen_black_box, is_config
from fex.cli.explain.devices import chosen_device, moved
from fex.dax import DAX, FitSettings
from fex.explainers.api import explain
from fex.explanations.image import Explanation
from fex.iassa import IASSA, BackboneFeatures
from fex.images.preprocess import Preprocess

__all__ = ["InstanceMethod", "load_method"]

CPU_CHUNK = 8  # larger ones leave the cache: efficientnet_lite0 scores 2.5 times fewer pictures a second at 64


class InstanceMethod:
    """What `fex.explainers.image_stream.explain_files` asks of an explainer.

    Args:
        explainer: DAX or IASSA.
        black_box: what it explains.
        device: where everything but a remote box is computed.
    """

    def __init__(self, explainer: Any, black_box: BlackBox, device: str) -> None:
        self.explainer, self._box, self.device = explainer, black_box, device
        self.method, self.removal, self.black_box = type(explainer).__name__, explainer.removal.name, black_box.name

    @property
    def box(self) -> BlackBox:
        """What it explains."""
        return self._box

    @property
    def queries(self) -> int:
        """What the black box was asked so far."""
        return self._box.queries

    @property
    def preprocess(self) -> Preprocess:
        """Geometry of the inputs."""
        return self._box.preprocess

    def explain(
        self,
        image: Tensor,
        target: str | int | None = None,
        top_k: int = 1,
        *,
        black_box: BlackBox | None = None,  # noqa: ARG002 it holds its own
        sources: Sequence[str] = (),
    ) -> list[Explanation]:
        """Explanations of a batch (B, 3, H, W), image by image, class by class."""
        found = explain(image.to(self.device), self.explainer, target, top_k)
        return [replace(explanation, source=sources[row // top_k]) for row, explanation in enumerate(found)]


def load_method(arguments: argparse.Namespace) -> InstanceMethod:
    """The explainer that the command line asks for.

    Raises:
        ValueError: unknown black box or class, more classes than there are, an unusable device.
    """
    device = chosen_device(arguments.device)
    box = chosen_black_box(arguments.black_box)
    if arguments.target is not None:
        class_index(arguments.target, box.class_names)  # an unknown class is told before anything is read or written
    elif arguments.top_k > box.num_classes:
        raise ValueError(f"--top-k is {arguments.top_k}, the black box has {box.num_classes} classes.")
    moved(box, device)
    tell_compiler(box)
    if device == "cpu" and not is_config(arguments.black_box):  # a file says itself how large chunks are
        box.chunk = min(box.chunk, CPU_CHUNK)
    arguments.batch_size = 1  # each picture takes thousands of queries: progress is shown, and results kept, one by one
    if arguments.method == "dax":
        samples = {} if arguments.budget is None else {"num_samples": arguments.budget}
        # As in dax_imagenet.yaml; of fewer samples the larger batches would be too few steps.
        few = arguments.budget is not None and arguments.budget < 6000
        fit = FitSettings(mask_stride=2, precision="bf16", batch_size=64 if few else 128)
        return InstanceMethod(DAX(box, fit=fit, **samples), box, device)
    return InstanceMethod(IASSA(box, _backbone(arguments.backbone), budget=arguments.budget), box, device)


def _backbone(name: str | None) -> BackboneFeatures | None:
    """Network of IASSA's attention: MODEL of the hub, MODEL=WEIGHTS, none at all, or that of iassa_imagenet.yaml."""
    if name == "none":
        return None
    if name is None:
        return BackboneFeatures("tf_efficientnet_lite0", weights="efficientnet_lite0", levels=(0, 1, 2, 3))
    model, _, weights = name.partition("=")
    return BackboneFeatures(model, weights=weights or None, pretrained=not weights)
