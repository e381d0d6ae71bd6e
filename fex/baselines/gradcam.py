"""GradCAM and GradCAM++ of any CNN or vision transformer."""

from itertools import count
from typing import ClassVar

import torch
from torch import Tensor, nn

from fex.baselines.base import differentiating
from fex.baselines.layer import calls_of, find_layer, last_map, to_map
from fex.baselines.maps import MapExplainer
from fex.black_box.base import BlackBox
from fex.images.features import PatchGrid
from fex.metrics.functional.segmentation import normalise_maps

__all__ = ["GradCAM", "GradCAMPlusPlus", "LogitModule"]


class LogitModule(nn.Module):
    """The black box as the module that captum wants; owns nothing."""

    def __init__(self, black_box: BlackBox) -> None:
        super().__init__()
        self.net = black_box.module
        self._logits = black_box.differentiable

    def forward(self, inputs: Tensor) -> Tensor:
        return self._logits(inputs)


class GradCAM(MapExplainer):
    """Activations of one layer, weighted by the mean gradient of the target's logit; 0 where that is negative.

    Source: Selvaraju et al. 2017.

    Each map is scaled to [0, 1] by its own range. The layer, its token grid and its prefix tokens are found in the
    network (`fex.baselines.layer`); of a layer that runs more than once, the last run that gives a map counts.
    Gradient passes are no queries; only an unnamed target costs one query an instance.

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
        with differentiating(self.module):
            blank = torch.zeros(2, len(black_box.mean), *black_box.preprocess.size, device=black_box.device)
            calls = calls_of(self.module, black_box.differentiable, blank)
        if target_layer is None:
            self.target_layer, self.call = find_layer(self.module, calls, (blank.shape[-2], blank.shape[-1]))
        else:
            layer = self.module.get_submodule(target_layer)
            self.target_layer = target_layer
            self.call = last_map(self.module, [call for call in calls if call.layer is layer], blank.shape[-2:])

    def _seen(self, inputs: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """The layer's activations, and the gradient of the target's logit there: (b, D, h, w) each."""
        size, runs, found = (inputs.shape[-2], inputs.shape[-1]), count(), dict[str, Tensor]()
        # Copies: tensors of inference mode can neither be differentiated nor kept for it.
        leaf = inputs.detach().clone().to(self.black_box.device, torch.float32).requires_grad_()
        index = target.clone().to(leaf.device).unsqueeze(1)

        def hook(_module: nn.Module, _inputs: object, output: Tensor) -> None:
            if next(runs) == self.call:
                # A copy: an in-place ReLU would overwrite the values themselves.
                found["activations"] = to_map(output.detach(), size, self.module).clone()
                output.register_hook(lambda slope: found.update(gradient=to_map(slope, size, self.module)))

        handle = self.module.get_submodule(self.target_layer).register_forward_hook(hook)
        try:
            logits = self.black_box.differentiable(leaf)
        finally:
            handle.remove()
        torch.autograd.grad(logits.gather(1, index).sum(), leaf, allow_unused=True)
        if "gradient" not in found:
            raise ValueError(
                f"No gradient reaches layer {self.target_layer!r} of {type(self.module).__name__}: set `target_layer` "
                "to a layer that the logits depend on."
            )
        return found["activations"], found["gradient"]

    def _weights(self, activations: Tensor, gradient: Tensor) -> Tensor:  # noqa: ARG002 others need both
        """Of the channels, (b, D)."""
        return gradient.mean((2, 3))

    def _native(self, inputs: Tensor, target: Tensor) -> Tensor:
        """Maps (b, h, w) on the layer's own grid."""
        activations, gradient = self._seen(inputs, target)
        weights = self._weights(activations, gradient)
        return normalise_maps(torch.einsum("bd,bdhw->bhw", weights, activations).clamp_min(0))


class GradCAMPlusPlus(GradCAM):
    """GradCAM with weights from positive gradients alone, each location by its own factor; arguments as of GradCAM.

    Source: Chattopadhyay et al. 2018, eq. 19. It was derived for activations behind a ReLU; where they are negative, as
    the tokens of a transformer, its factors lose that meaning.
    """

    def _weights(self, activations: Tensor, gradient: Tensor) -> Tensor:
        # Eq. 19 divided by g^2, which is often smaller than any number that would keep its denominator from 0.
        denominator = 2 + activations.sum((2, 3), keepdim=True) * gradient
        factors = torch.where(denominator == 0, 0.0, 1 / denominator)
        return (gradient.clamp_min(0) * factors).sum((2, 3))
