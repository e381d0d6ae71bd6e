"""GradCAM and GradCAM++ of any CNN or vision transformer: adapters of the `grad-cam` package."""

from typing import Any, ClassVar

import numpy as np
import torch
from pytorch_grad_cam import GradCAM as PackageGradCAM
from pytorch_grad_cam import GradCAMPlusPlus as PackageGradCAMPlusPlus
from pytorch_grad_cam.base_cam import BaseCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor, nn

from fex.baselines.base import differentiating
from fex.baselines.layer import find_layer, to_map
from fex.baselines.maps import MapExplainer
from fex.black_box.base import BlackBox
from fex.features import PatchGrid

__all__ = ["GradCAM", "GradCAMPlusPlus", "LogitModule"]


class _Native:
    """Of the package: the map on the layer's own grid, not resized to the image."""

    activations_and_grads: Any

    def get_target_width_height(self, input_tensor: Tensor) -> tuple[int, int]:  # noqa: ARG002 the package's signature
        height, width = self.activations_and_grads.activations[0].shape[-2:]
        return width, height


class _NativeGradCAM(_Native, PackageGradCAM):
    pass


class _NativeGradCAMPlusPlus(_Native, PackageGradCAMPlusPlus):
    def get_cam_weights(
        self,
        input_tensor: Any,  # noqa: ARG002 the package's signature
        target_layers: Any,  # noqa: ARG002
        targets: Any,  # noqa: ARG002
        activations: np.ndarray,
        grads: np.ndarray,
    ) -> np.ndarray:
        """Eq. 19 divided by g^2: the package adds 1e-6 to a denominator of g^2, which often is no larger itself."""
        axes = tuple(range(2, activations.ndim))
        denominator = 2 + activations.sum(axes, keepdims=True) * grads
        factors = np.divide(1.0, denominator, out=np.zeros_like(grads), where=denominator != 0)
        return (np.maximum(grads, 0) * factors).sum(axes)


class LogitModule(nn.Module):
    """The black box as the module the package wants; owns nothing."""

    def __init__(self, black_box: BlackBox) -> None:
        super().__init__()
        self.net = black_box.module
        self._logits = black_box.differentiable

    def forward(self, inputs: Tensor) -> Tensor:
        return self._logits(inputs)


class GradCAM(MapExplainer):
    """Activations of one layer, weighted by the mean gradient of the target's logit; 0 where that is negative.

    Source: Selvaraju et al. 2017.

    Each map is scaled to [0, 1] by its own range, as the package does. The layer, its token grid and its prefix
    tokens are found in the network (`fex.baselines.layer`). Gradient passes are no queries; only an unnamed target
    costs one query an instance.

    Args:
        black_box: a box that has a `module`.
        features: the grid of `attribute_features`.
        target_layer: dotted name of the layer, where the found one is not wanted.
        internal_batch_size: largest number of images in one backward pass (default: the box's chunk, at most 64).

    Raises:
        TypeError: a box that can only be queried.
        ValueError: no such layer, or none can be found.
    """

    modalities: ClassVar[tuple[str, ...]] = ("image",)
    _package: ClassVar[type[BaseCAM]] = _NativeGradCAM

    def __init__(
        self,
        black_box: BlackBox,
        features: PatchGrid,
        *,
        target_layer: str | None = None,
        internal_batch_size: int | None = None,
    ) -> None:
        super().__init__(black_box, features, internal_batch_size=internal_batch_size)
        names = dict(self.module.named_modules())
        if target_layer is not None and target_layer not in names:
            raise ValueError(
                f"{type(self.module).__name__} has no layer {target_layer!r}; its last ones are "
                f"{', '.join(list(names)[-8:])}."
            )
        if target_layer is None:
            blank = torch.zeros(2, 3, *black_box.preprocess.size, device=black_box.device)
            with differentiating(self.module):
                target_layer = find_layer(self.module, black_box.differentiable, blank)
        self.target_layer = target_layer

    def _native(self, inputs: Tensor, target: Tensor) -> Tensor:
        """Maps (b, h, w) on the layer's own grid."""
        size = (inputs.shape[-2], inputs.shape[-1])
        leaf = inputs.detach().clone().to(self.black_box.device, torch.float32).requires_grad_()
        cam = self._package(
            LogitModule(self.black_box),
            [self.module.get_submodule(self.target_layer)],
            # A copy: on the CPU the package keeps the values themselves, which an in-place ReLU would overwrite.
            reshape_transform=lambda values: to_map(values, size, self.module).clone(),
        )
        try:  # not `with cam`: the package swallows an IndexError there
            maps = cam(leaf, [ClassifierOutputTarget(label) for label in target.tolist()])
        finally:
            cam.activations_and_grads.release()
        return torch.from_numpy(maps)


class GradCAMPlusPlus(GradCAM):
    """GradCAM with weights from positive gradients alone, each location by its own factor; arguments as of GradCAM.

    Source: Chattopadhyay et al. 2018, eq. 19. It was derived for activations behind a ReLU; where they are negative, as
    the tokens of a transformer, its factors lose that meaning.
    """

    _package = _NativeGradCAMPlusPlus
