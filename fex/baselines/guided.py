"""Guided GradCAM (Selvaraju et al. 2017, section 3.3): guided backpropagation by captum times GradCAM."""

import warnings

import captum.attr
import torch
from torch import Tensor, nn

from fex.baselines.captum_methods import PixelGradient
from fex.baselines.gradcam import GradCAM, LogitModule
from fex.baselines.maps import upsample
from fex.black_box.base import BlackBox
from fex.images.features import PatchGrid

__all__ = ["GuidedGradCAM"]


class GuidedGradCAM(PixelGradient):
    """Guided gradient of the target's logit, summed over colours, times the GradCAM map in [0, 1]; signed.

    Args:
        black_box: a box whose `module` is a network with `nn.ReLU` or `nn.ReLU6` layers.
        target_layer: see `GradCAM`.
        internal_batch_size: largest number of images in one backward pass (default: the box's chunk, at most 64).

    Raises:
        TypeError: a box that can only be queried.
        ValueError: a network without ReLU layers, where guided backpropagation is the plain gradient.
    """

    def __init__(
        self, black_box: BlackBox, *, target_layer: str | None = None, internal_batch_size: int | None = None
    ) -> None:
        super().__init__(black_box, internal_batch_size=internal_batch_size)
        if not any(isinstance(part, (nn.ReLU, nn.ReLU6)) for part in self.module.modules()):
            raise ValueError(
                "Guided backpropagation changes the gradients of nn.ReLU and nn.ReLU6 layers, and "
                f"{type(self.module).__name__} has none: use GradCAM."
            )
        # Pixels are the features of a map that is only ever multiplied with pixels.
        self.gradcam = GradCAM(black_box, PatchGrid(1, 1), target_layer=target_layer)

    def _attribute(self, inputs: Tensor, target: Tensor) -> Tensor:
        # GradCAM first: its own gradients must not be guided.
        maps = upsample(self.gradcam._native(inputs, target), inputs).to(inputs)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Setting backward hooks on ReLU activations")
            leaf = inputs.detach().clone().requires_grad_()
            # captum guides nn.ReLU alone.
            hooks = [m.register_forward_pre_hook(_guide) for m in self.module.modules() if isinstance(m, nn.ReLU6)]
            try:
                guided = captum.attr.GuidedBackprop(LogitModule(self.black_box)).attribute(leaf, target=target)
            finally:
                for hook in hooks:
                    hook.remove()
        return torch.as_tensor(guided) * maps.unsqueeze(1)


def _guide(_module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Lets only positive gradients through to a layer's input; a copy, since the layer may work in place."""
    own = inputs[0].clone()
    own.register_hook(lambda gradient: gradient.clamp_min(0))
    return (own, *inputs[1:])
