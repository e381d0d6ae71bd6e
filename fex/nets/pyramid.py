"""Dense encoder: any timm backbone with feature maps, its levels joined at the feature grid."""

from typing import Any

import timm
import torch
from torch import Tensor, nn

from fex.backbones import build_timm, in_order, read_timm_weights
from fex.nets.encoder import Encoder, to_grid
from fex.weights import load_state

__all__ = ["PyramidEncoder"]


class PyramidEncoder(Encoder):
    """Levels of a timm `features_only` backbone, each brought to the grid, normalised, projected and summed.

    Args:
        model: timm name.
        weights: local file or shipped name of the classifier to start from.
        pretrained: start from timm's hub weights.
        model_args: keyword arguments of the model, plain data.
        levels: which feature maps, as timm's `out_indices`.
        dim: D.
        frozen: keep the backbone as it is; the projections are always trained.
        channels_last: memory format of the backbone.
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
        channels_last: bool = True,
        mean: tuple[float, float, float] | None = None,
        std: tuple[float, float, float] | None = None,
    ) -> None:
        meta: dict[str, Any] = {}
        arguments = dict(model_args or {})
        if weights is not None:
            tensors, meta = read_timm_weights(weights)
            arguments = {**meta.get("model_args", {}), **arguments}
        backbone = {key: value for key, value in arguments.items() if key != "num_classes"}
        net = timm.create_model(
            model, pretrained=pretrained and weights is None, features_only=True, out_indices=tuple(levels), **backbone
        )
        if weights is not None:
            _load_features(net, model, arguments, tensors, source=weights)
        data = timm.data.resolve_model_data_config(net)
        mean, std = tuple(mean or meta.get("mean") or data["mean"]), tuple(std or meta.get("std") or data["std"])
        init_args = {
            "model": model, "model_args": backbone, "levels": list(levels), "dim": dim, "frozen": frozen,
            "channels_last": channels_last, "mean": list(mean), "std": list(std),
        }  # fmt: skip
        super().__init__(dim, mean, std, init_args, frozen=False)
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        net.requires_grad_(requires_grad=not frozen)
        self.net = net.to(memory_format=self.memory_format)
        self.backbone_frozen = frozen
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for channels in net.feature_info.channels())
        self.lateral = nn.ModuleList(nn.Linear(channels, dim) for channels in net.feature_info.channels())
        self.eval()

    def encode(self, inputs: Tensor, grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """See `Encoder`; pooled is the mean of the tokens."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.backbone_frozen):
            maps = self.net(inputs.contiguous(memory_format=self.memory_format))
        tokens = torch.stack(
            [
                lateral(norm(to_grid(level.float(), grid).flatten(2).transpose(1, 2)))
                for level, norm, lateral in zip(maps, self.norms, self.lateral, strict=True)
            ]
        ).sum(0)
        return tokens, tokens.mean(1)


def _load_features(
    net: nn.Module, model: str, arguments: dict[str, Any], tensors: dict[str, Tensor], *, source: str
) -> None:
    """Classifier weights into a `features_only` network, which renames blocks and lacks the head."""
    classifier = build_timm(model, arguments)
    full = in_order(classifier, tensors)
    load_state(classifier, full, source=source)
    renamed = {name.replace(".", "_", 1) if name.replace(".", "_", 1) in net.state_dict() else name: t
               for name, t in classifier.state_dict().items()}  # fmt: skip
    own = net.state_dict()
    load_state(net, {name: renamed.get(name, renamed.get(name.replace("_", ".", 1), own[name])) for name in own},
               source=source)  # fmt: skip
