"""Where the attention's features come from: any timm backbone with feature maps; not the black box."""

from typing import Any

import timm
import torch
from torch import Tensor

from fex.iassa.attention import fuse_levels
from fex.nets.timm_parts import feature_levels, load_backbone

__all__ = ["BackboneFeatures"]


class BackboneFeatures:
    """Phi: feature maps of several levels of a pretrained backbone, as one vector a place.

    The black box is only queried, so this is a network of its own (it may have the same
    weights); what it was trained on decides which places are alike.

    Args:
        model: timm name.
        weights: local file or shipped name of a classifier's weights.
        pretrained: take timm's hub weights.
        model_args: keyword arguments of the model, plain data.
        levels: which feature maps, the finest first, as indices of timm's `feature_info`; the first decides the
            resolution. (0, 1, 2, 3) is 112 x 112 for a photograph of 224 pixels, (1, 2, 3, 4) is 56 x 56.
        normalise: see `fuse_levels`.
        mean: normalisation of the inputs; by default the backbone's.
        std: normalisation of the inputs; by default the backbone's.

    Raises:
        ValueError: no such model, no feature maps, no such level, weights that do not fit.
    """

    def __init__(
        self,
        model: str,
        *,
        weights: str | None = None,
        pretrained: bool = False,
        model_args: dict[str, Any] | None = None,
        levels: tuple[int, ...] = (1, 2, 3, 4),
        normalise: bool = True,
        mean: tuple[float, float, float] | None = None,
        std: tuple[float, float, float] | None = None,
    ) -> None:
        net, meta = load_backbone(model, weights, model_args, pretrained=pretrained)
        data = timm.data.resolve_model_data_config(net)
        self.levels, self.normalise = feature_levels(model, net, levels), normalise
        self.mean, self.std = (
            tuple(mean or meta.get("mean") or data["mean"]),
            tuple(std or meta.get("std") or data["std"]),
        )
        net.prune_intermediate_layers(list(self.levels), prune_norm=True, prune_head=True)
        self.net = net.eval().requires_grad_(requires_grad=False)

    @torch.no_grad()
    def __call__(self, inputs: Tensor) -> Tensor:
        """Inputs (B, 3, H, W) in [0, 1] -> (B, C, h, w), float32, on their device."""
        self.net.to(inputs.device)
        mean, std = inputs.new_tensor(self.mean).view(1, 3, 1, 1), inputs.new_tensor(self.std).view(1, 3, 1, 1)
        with torch.autocast(inputs.device.type, enabled=False):
            maps = self.net.forward_intermediates(
                (inputs.float() - mean) / std, indices=list(self.levels), intermediates_only=True
            )
        return fuse_levels(maps, normalise=self.normalise)
