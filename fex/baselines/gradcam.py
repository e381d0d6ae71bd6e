"""GradCAM (Selvaraju et al. 2017) of any CNN or vision transformer: an adapter of the `grad-cam` package."""

import torch
from pytorch_grad_cam import GradCAM as PackageGradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor, nn
from torch.nn import functional as F

from fex.baselines.base import FeatureExplainer, differentiating, in_parts
from fex.baselines.layer import find_layer, to_map
from fex.black_box.base import BlackBox, resolve_target
from fex.features import PatchGrid

__all__ = ["GradCAM"]


class _NativeGradCAM(PackageGradCAM):
    """The package's map on the layer's own grid, not resized to the image."""

    def get_target_width_height(self, input_tensor: Tensor) -> tuple[int, int]:  # noqa: ARG002 the package's signature
        height, width = self.activations_and_grads.activations[0].shape[-2:]
        return width, height


class _Logits(nn.Module):
    """The black box as the module the package wants; owns nothing."""

    def __init__(self, black_box: BlackBox) -> None:
        super().__init__()
        self.net = black_box.module
        self._logits = black_box.differentiable

    def forward(self, inputs: Tensor) -> Tensor:
        return self._logits(inputs)


class GradCAM(FeatureExplainer):
    """Activations of one layer, weighted by the mean gradient of the target's logit; 0 where that is negative.

    Each map is scaled to [0, 1] by its own range, as the package does. The layer, its token grid and its prefix
    tokens are found in the network (`fex.baselines.layer`). Gradient passes are no queries; only an unnamed target
    costs one query an instance.

    Args:
        black_box: a box that has a `module`.
        features: the grid of `attribute_features`.
        target_layer: dotted name of the layer, where the found one is not wanted.
        internal_batch_size: largest number of images in one backward pass.

    Raises:
        TypeError: a box that can only be queried.
        ValueError: no such layer, or none can be found.
    """

    def __init__(
        self,
        black_box: BlackBox,
        features: PatchGrid,
        *,
        target_layer: str | None = None,
        internal_batch_size: int = 64,
    ) -> None:
        super().__init__(features)
        if internal_batch_size < 1:
            raise ValueError(f"internal_batch_size must be at least 1, got {internal_batch_size}.")
        self.black_box, self.internal_batch_size = black_box, internal_batch_size
        self.module = black_box.module
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
        leaf = inputs.detach().clone().to(self.black_box.device).requires_grad_()
        cam = _NativeGradCAM(
            _Logits(self.black_box),
            [self.module.get_submodule(self.target_layer)],
            reshape_transform=lambda values: to_map(values, size, self.module),
        )
        try:  # not `with cam`: the package swallows an IndexError there
            maps = cam(leaf, [ClassifierOutputTarget(label) for label in target.tolist()])
        finally:
            cam.activations_and_grads.release()
        return torch.from_numpy(maps)

    def _maps(self, inputs: Tensor, target: Tensor | int | None) -> Tensor:
        clean = self.black_box(inputs) if target is None else inputs.new_zeros(len(inputs), self.black_box.num_classes)
        classes = resolve_target(target, clean)
        with differentiating(self.module):
            return in_parts(self._native, inputs, classes, self.internal_batch_size)

    def attribute_features(self, inputs: Tensor, target: Tensor | int | None = None) -> Tensor:
        """Scores (B, N): the layer's own where its grid is the explained one, else pooled from the pixels."""
        maps = self._maps(inputs, target)
        if maps.shape[1:] == (self.features.height, self.features.width):
            return maps.flatten(1)
        return self.features.pool(_upsample(maps, inputs))

    def attribute(self, inputs: Tensor, target: Tensor | int | None = None) -> Tensor:
        """The map, bilinear on the pixels: (B, H, W), float32, in [0, 1]."""
        return _upsample(self._maps(inputs, target), inputs)


def _upsample(maps: Tensor, inputs: Tensor) -> Tensor:
    size = (inputs.shape[-2], inputs.shape[-1])
    return F.interpolate(maps.unsqueeze(1), size=size, mode="bilinear", align_corners=False).squeeze(1)
