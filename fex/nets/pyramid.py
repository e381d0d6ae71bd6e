"""Dense encoder: any timm backbone with feature maps, its levels joined at the feature grid."""

from collections.abc import Sequence
from typing import Any

import timm
import torch
from torch import Tensor, nn

from fex.nets.encoder import Encoder, EncoderOutput, freeze_unused, to_grid
from fex.nets.head_layout import HeadLayout
from fex.nets.timm_parts import feature_levels, linear_classifier, load_backbone, own_size, probe_size

__all__ = ["PyramidEncoder"]


def _prune(net: nn.Module, levels: Sequence[int]) -> None:
    """Takes off what comes after the last of the levels."""
    try:
        net.prune_intermediate_layers(list(levels), prune_norm=True, prune_head=True)
    except AssertionError:  # heads that timm before 1.0.31 cannot take off
        net.prune_intermediate_layers(list(levels), prune_norm=True, prune_head=False)


class PyramidEncoder(Encoder):
    """Feature maps of a timm backbone, each brought to the grid, normalised, projected and summed.

    Args:
        model: timm name.
        weights: local file or shipped name of the classifier to start from.
        pretrained: start from timm's hub weights.
        model_args: keyword arguments of the model, plain data.
        levels: which feature maps, as the indices of timm's `feature_info`; by default the last three.
        dim: D.
        frozen: keep the backbone as it is; the projections are always trained.
        class_head: keep the backbone's own classifier, frozen, and start the class levels and maps from it; for a
            backbone that classifies as the black box does. Without it, what lies behind the last level is cut off.
        against_others: with `class_head`, maps start from the evidence for a class against the others, instead of its
            own alone, see `fex.nets.class_maps.against_others`.
        channels_last: memory format of the backbone.
        mean: normalisation of the inputs; by default the backbone's.
        std: normalisation of the inputs; by default the backbone's.

    Raises:
        ValueError: a backbone without feature maps, or without those levels; with `class_head`, one whose classifier
            cannot be asked about one place; `against_others` without `class_head`.
    """

    def __init__(
        self,
        model: str,
        *,
        weights: str | None = None,
        pretrained: bool = False,
        model_args: dict[str, Any] | None = None,
        levels: tuple[int, ...] = (-3, -2, -1),
        dim: int = 256,
        frozen: bool = False,
        class_head: bool = False,
        against_others: bool = False,
        channels_last: bool = True,
        mean: tuple[float, ...] | None = None,
        std: tuple[float, ...] | None = None,
    ) -> None:
        if against_others and not class_head:
            raise ValueError("against_others compares what the backbone's classifier says: set class_head: true too.")
        net, meta = load_backbone(model, weights, model_args, pretrained=pretrained)
        levels = feature_levels(model, net, levels)
        data = timm.data.resolve_model_data_config(net)
        mean, std = tuple(mean or meta.get("mean") or data["mean"]), tuple(std or meta.get("std") or data["std"])
        arguments = {**meta.get("model_args", {}), **(model_args or {})}
        init_args = {
            "model": model, "model_args": arguments, "levels": list(levels),
            "dim": dim, "frozen": frozen, "class_head": class_head, "channels_last": channels_last,
            "mean": list(mean), "std": list(std),
            **({"against_others": True} if against_others else {}),  # as files were written before there was a choice
        }  # fmt: skip
        super().__init__(dim, mean, std, init_args, frozen=False)
        self.levels, self.backbone_frozen = levels, frozen
        self.class_head, self.contrasts = class_head, against_others
        last = channels_last and _takes_channels_last(net)
        self.memory_format = torch.channels_last if last else torch.contiguous_format
        if class_head:
            linear_classifier(net)
        else:
            _prune(net, levels)
        self.net, self.size = net.to(memory_format=self.memory_format), own_size(net)
        self.eval()
        probe = torch.zeros(1, len(mean), *probe_size(net, arguments))
        with torch.no_grad():
            channels = [level.shape[1] for level in self._maps(probe)[0]]
            if class_head:
                self._check_head(probe)
        self.norms = nn.ModuleList(nn.LayerNorm(count) for count in channels)
        self.lateral = nn.ModuleList(nn.Linear(count, dim) for count in channels)
        self.eval()
        if frozen:
            net.requires_grad_(requires_grad=False)
        else:
            freeze_unused(net, lambda: sum(level.sum() for level in self._maps(probe)[0]))

    @property
    def class_weight(self) -> Tensor | None:
        """See `Encoder`."""
        return linear_classifier(self.net).weight if self.class_head else None

    def _maps(self, inputs: Tensor) -> tuple[list[Tensor], Tensor | None]:
        """Maps of the levels (B, D, h, w), and what the classifier's head gets, as that takes it (`HeadLayout`)."""
        inputs = inputs.contiguous(memory_format=self.memory_format)
        if not self.class_head:
            maps = self.net.forward_intermediates(inputs, indices=list(self.levels), intermediates_only=True)
            return maps, None
        last, maps = self.net.forward_intermediates(inputs, indices=list(self.levels))
        return maps, last

    def _check_head(self, probe: Tensor) -> None:
        """Whether the head gives the network's logits from the last features, and reads one place as many like it."""
        inputs = probe + torch.rand(probe.shape, generator=torch.Generator().manual_seed(0))
        last = self._maps(inputs)[1]
        assert last is not None
        layout = HeadLayout.of(self.net, last, (probe.shape[-2], probe.shape[-1]))
        place = layout.unfold(last)[:, :, :1, :1]
        many = layout.fold(place.expand(-1, -1, *layout.cells))
        whole, alike, alone = (self.net.forward_head(part) for part in (last, many, layout.fold(place)))
        if not (torch.allclose(whole, self.net(inputs), 1e-3, 1e-4) and torch.allclose(alike, alone, 1e-3, 1e-4)):
            raise ValueError(
                f"The head of {type(self.net).__name__} cannot be asked about single places: set class_head: false."
            )

    def _evidence(self, last: Tensor, grid: tuple[int, int], size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Logits (B, C), and what the linear layer reads when one place (B, N, E) is all there is."""
        layout = HeadLayout.of(self.net, last, size)
        places = to_grid(layout.unfold(last), grid).flatten(2).transpose(1, 2)
        local = self.net.forward_head(layout.fold(places.reshape(-1, places.shape[-1], 1, 1)), pre_logits=True)
        return self.net.forward_head(last), local.unflatten(0, places.shape[:2])

    def encode(self, inputs: Tensor, grid: tuple[int, int]) -> EncoderOutput:
        """See `Encoder`; pooled is the mean of the tokens."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.backbone_frozen):
            maps, last = self._maps(inputs)
            evidence = () if last is None else self._evidence(last, grid, (inputs.shape[-2], inputs.shape[-1]))
        tokens = torch.stack(
            [
                lateral(norm(to_grid(level.float(), grid).flatten(2).transpose(1, 2)))
                for level, norm, lateral in zip(maps, self.norms, self.lateral, strict=True)
            ]
        ).sum(0)
        return EncoderOutput(tokens, tokens.mean(1), *evidence)


def _takes_channels_last(net: nn.Module) -> bool:
    """Weights of five axes have no such format, and the CPU kernel of one layer overwrites foreign memory in it.

    That is the gradient of a strided 1 x 1 convolution of the three colours (RepVGG, MobileOne), seen with torch 2.14.
    """
    stems = (m for m in net.modules() if isinstance(m, nn.Conv2d) and m.in_channels == 3)
    broken = any(tuple(m.kernel_size) == (1, 1) and tuple(m.stride) != (1, 1) for m in stems)
    return not broken and all(parameter.ndim < 5 for parameter in net.parameters())
