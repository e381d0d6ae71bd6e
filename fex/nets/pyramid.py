"""Dense encoder: any timm backbone with feature maps, its levels joined at the feature grid."""

from typing import Any

import timm
import torch
from torch import Tensor, nn

from fex.nets.encoder import Encoder, EncoderOutput, freeze_unused, linear_classifier, load_backbone, to_grid

__all__ = ["PyramidEncoder"]


class PyramidEncoder(Encoder):
    """Feature maps of a timm backbone, each brought to the grid, normalised, projected and summed.

    Args:
        model: timm name.
        weights: local file or shipped name of the classifier to start from.
        pretrained: start from timm's hub weights.
        model_args: keyword arguments of the model, plain data.
        levels: which feature maps, as the indices of timm's `feature_info`.
        dim: D.
        frozen: keep the backbone as it is; the projections are always trained.
        class_head: keep the backbone's own classifier, frozen, and start the class levels and maps from it; for a
            backbone that classifies as the black box does. Without it, what lies behind the last level is cut off.
        channels_last: memory format of the backbone.
        mean: normalisation of the inputs; by default the backbone's.
        std: normalisation of the inputs; by default the backbone's.
    """

    def __init__(
        self,
        model: str,
        *,
        weights: str | None = None,
        pretrained: bool = False,
        model_args: dict[str, Any] | None = None,
        levels: tuple[int, ...] = (2, 3, 4),
        dim: int = 256,
        frozen: bool = False,
        class_head: bool = False,
        channels_last: bool = True,
        mean: tuple[float, float, float] | None = None,
        std: tuple[float, float, float] | None = None,
    ) -> None:
        net, meta = load_backbone(model, weights, model_args, pretrained=pretrained)
        if not hasattr(net, "forward_intermediates") or not hasattr(net, "feature_info"):
            raise ValueError(f"timm gives no feature maps of {model!r}: choose another one, or fex.nets.ViTEncoder.")
        channels = [info["num_chs"] for info in net.feature_info]
        levels = tuple(range(len(channels))[level] for level in levels)  # negative ones count from the end
        data = timm.data.resolve_model_data_config(net)
        mean, std = tuple(mean or meta.get("mean") or data["mean"]), tuple(std or meta.get("std") or data["std"])
        init_args = {
            "model": model, "model_args": {**meta.get("model_args", {}), **(model_args or {})}, "levels": list(levels),
            "dim": dim, "frozen": frozen, "class_head": class_head, "channels_last": channels_last,
            "mean": list(mean), "std": list(std),
        }  # fmt: skip
        super().__init__(dim, mean, std, init_args, frozen=False)
        self.levels, self.backbone_frozen, self.class_head = levels, frozen, class_head
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        if class_head:
            linear_classifier(net)
        else:
            net.prune_intermediate_layers(list(levels), prune_norm=True, prune_head=True)
        self.net = net.to(memory_format=self.memory_format)
        self.norms = nn.ModuleList(nn.LayerNorm(channels[level]) for level in levels)
        self.lateral = nn.ModuleList(nn.Linear(channels[level], dim) for level in levels)
        self.eval()
        if frozen:
            net.requires_grad_(requires_grad=False)
        else:
            freeze_unused(net, lambda: sum(level.sum() for level in self._maps(torch.zeros(1, 3, 64, 64))[0]))

    @property
    def class_weight(self) -> Tensor | None:
        """See `Encoder`."""
        return linear_classifier(self.net).weight if self.class_head else None

    def _maps(self, inputs: Tensor) -> tuple[list[Tensor], Tensor | None]:
        """Maps of the levels, and what the classifier's head gets, (B, E', h, w)."""
        inputs = inputs.contiguous(memory_format=self.memory_format)
        if not self.class_head:
            maps = self.net.forward_intermediates(inputs, indices=list(self.levels), intermediates_only=True)
            return maps, None
        last, maps = self.net.forward_intermediates(inputs, indices=list(self.levels))
        return maps, last

    def _evidence(self, last: Tensor, grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Logits (B, C), and what the linear layer reads when one place (B, N, E) is all there is."""
        places = to_grid(last, grid).flatten(2).transpose(1, 2)
        local = self.net.forward_head(places.reshape(-1, places.shape[-1], 1, 1), pre_logits=True)
        return self.net.forward_head(last), local.unflatten(0, places.shape[:2])

    def encode(self, inputs: Tensor, grid: tuple[int, int]) -> EncoderOutput:
        """See `Encoder`; pooled is the mean of the tokens."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.backbone_frozen):
            maps, last = self._maps(inputs)
            evidence = () if last is None else self._evidence(last, grid)
        tokens = torch.stack(
            [
                lateral(norm(to_grid(level.float(), grid).flatten(2).transpose(1, 2)))
                for level, norm, lateral in zip(maps, self.norms, self.lateral, strict=True)
            ]
        ).sum(0)
        return EncoderOutput(tokens, tokens.mean(1), *evidence)
