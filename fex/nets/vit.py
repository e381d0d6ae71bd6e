"""Token encoder: any timm transformer whose features are tokens."""

from typing import Any

import timm
import torch
from timm.models import VisionTransformer
from torch import Tensor, nn

from fex.nets.direct import direct_forward, has_direct
from fex.nets.encoder import Encoder, EncoderOutput, freeze_unused, shares, to_grid
from fex.nets.timm_parts import linear_classifier, load_backbone, own_size, probe_size
from fex.texts.lora import add_lora, check_lora, merge_lora

__all__ = ["ViTEncoder"]


class ViTEncoder(Encoder):
    """A timm ViT; patch grid and prefix tokens are inferred from the model.

    Args:
        model: timm name.
        weights: local file or shipped name to start from.
        pretrained: start from timm's hub weights.
        model_args: keyword arguments of the model, plain data.
        frozen: keep the backbone as it is.
        class_head: keep the backbone's own classifier, frozen, and start the class levels and maps from it; for a
            backbone that classifies as the black box does.
        direct_layers: with `class_head`, what the maps start from: 0 is what the classifier would read at each token
            alone; k > 0 is what the last k blocks' attention gives from each token to the class token
            (`fex.nets.direct`), a far better start, for plain ViTs that classify by their class token.
        lora_rank: if positive, train rank-r updates of the blocks' linear layers (attention and MLP) instead of the
            backbone itself (needs the `text` extra's `peft`).
        lora_alpha: scale of the updates, (lora_alpha / lora_rank) B A; None is twice the rank.
        lora_dropout: share of what the updates read that is dropped while training, the same for a whole step.

    Raises:
        ValueError: a model whose features are no tokens, or that has no blocks for LoRA.
    """

    def __init__(
        self,
        model: str,
        *,
        weights: str | None = None,
        pretrained: bool = False,
        model_args: dict[str, Any] | None = None,
        frozen: bool = False,
        class_head: bool = False,
        direct_layers: int = 0,
        lora_rank: int = 0,
        lora_alpha: float | None = None,
        lora_dropout: float = 0.0,
        mean: tuple[float, ...] | None = None,
        std: tuple[float, ...] | None = None,
    ) -> None:
        lora = check_lora(lora_rank, lora_alpha, lora_dropout)
        net, meta = load_backbone(model, weights, model_args, pretrained=pretrained)
        patch = _patch(net)
        if patch is None or not hasattr(net, "num_prefix_tokens"):
            raise ValueError(
                f"{model!r} has no patch tokens: use fex.nets.PyramidEncoder or fex.nets.UNetEncoder for it."
            )
        data = timm.data.resolve_model_data_config(net)
        mean, std = tuple(mean or meta.get("mean") or data["mean"]), tuple(std or meta.get("std") or data["std"])
        arguments = {**meta.get("model_args", {}), **(model_args or {})}
        init_args = {
            "model": model, "model_args": arguments, "frozen": frozen,
            "class_head": class_head, "lora_rank": lora_rank, **lora,
            **({"direct_layers": direct_layers} if direct_layers else {}),
            "mean": list(mean), "std": list(std),
        }  # fmt: skip
        super().__init__(net.num_features, mean, std, init_args, frozen=frozen)
        if direct_layers:
            _check_direct(model, net, direct_layers, class_head=class_head)
        self.class_head, self.direct_layers, self.contrasts = class_head, direct_layers, direct_layers > 0
        self.size, self.patch = own_size(net), patch
        self.padded = bool(getattr(net.patch_embed, "dynamic_img_pad", False))
        # Read before the classifier goes. A class token that the network's own classifier does not read knows nothing.
        self.class_token = getattr(net, "global_pool", "") == "token" and getattr(net, "cls_token", None) is not None
        if class_head:
            linear_classifier(net)
        else:
            _drop_classifier(net)
        self.prefix = int(net.num_prefix_tokens)
        if frozen or lora_rank:
            net.requires_grad_(requires_grad=False)
        if lora_rank:
            net = add_lora(net, lora_rank, lora_alpha, lora_dropout)
        self.net = net
        self.eval()
        if not (frozen or lora_rank or type(net) is VisionTransformer):
            probe = torch.zeros(1, len(mean), *probe_size(net, arguments))
            freeze_unused(net, lambda: sum(part.sum() for part in self.encode(probe, (2, 2)) if part is not None))

    def merge(self) -> None:
        """Adds trained updates to the weights, for explaining without their cost."""
        merge_lora(self.net)

    def encode(self, inputs: Tensor, grid: tuple[int, int]) -> EncoderOutput:
        """See `Encoder`; pooled is the class token where the backbone's own classifier reads it, else the tokens' mean.

        Raises:
            ValueError: tokens that are no grid of the patches.
        """
        if self.direct_layers:
            features, local = direct_forward(self.net, inputs, self.direct_layers)
        else:
            features, local = self.net.forward_features(inputs), None
        size = inputs.shape[-2], inputs.shape[-1]
        own = tuple(
            -(-side // patch) if self.padded else side // patch for side, patch in zip(size, self.patch, strict=True)
        )
        tokens = features[:, self.prefix :]
        if features.ndim != 3 or tokens.shape[1] != own[0] * own[1]:
            raise ValueError(
                f"{type(self.net).__name__} gives features {tuple(features.shape)} for {size[0]} x {size[1]} pixels, "
                f"expected {self.prefix} + {own[0]} x {own[1]} tokens: use fex.nets.PyramidEncoder for it."
            )
        pooled = features[:, 0] if self.class_token else tokens.mean(1)
        tokens = self._on_grid(tokens, own, grid, size)
        if not self.class_head:
            return EncoderOutput(tokens, pooled)
        local = self._alone(tokens) if local is None else self._on_grid(local, own, grid, size)
        return EncoderOutput(tokens, pooled, self.net.forward_head(features), local)

    def _on_grid(self, tokens: Tensor, own: tuple[int, ...], grid: tuple[int, int], size: tuple[int, int]) -> Tensor:
        """Tokens (B, n, D) of the network's `own` grid on another, (B, N, D)."""
        reached = own[0] * self.patch[0], own[1] * self.patch[1]
        if reached == size and own == grid:
            return tokens
        maps = tokens.transpose(1, 2).unflatten(2, own)
        if reached[0] > size[0] or reached[1] > size[1]:  # the last patches lie partly beside the image
            rows, columns = (shares(*sides).to(maps) for sides in zip(own, self.patch, grid, size, strict=True))
            maps = rows @ maps @ columns.T
        return to_grid(maps, grid).flatten(2).transpose(1, 2)

    def _alone(self, tokens: Tensor) -> Tensor:
        """What the linear layer reads where all tokens are the same one, (B, N, D) -> (B, N, E)."""
        alone = tokens.flatten(0, 1).unsqueeze(1).expand(-1, self.prefix + 1, -1)
        return self.net.forward_head(alone, pre_logits=True).unflatten(0, tokens.shape[:2])

    @property
    def class_weight(self) -> Tensor | None:
        """See `Encoder`."""
        return linear_classifier(self.net).weight if self.class_head else None


def _check_direct(model: str, net: Any, layers: int, *, class_head: bool) -> None:
    """Refuses `direct_layers` where there is nothing to start from."""
    if not class_head:
        raise ValueError(f"direct_layers ({layers}) starts maps from the backbone's classifier: set class_head: true.")
    if not has_direct(net):
        raise ValueError(
            f"direct_layers needs a plain ViT that classifies by its class token, got {model!r}: leave it at 0."
        )
    if not 0 < layers <= len(net.blocks):
        raise ValueError(
            f"direct_layers must be between 0 and the {len(net.blocks)} blocks of {model!r}, got {layers}."
        )


def _drop_classifier(net: Any) -> None:
    net.reset_classifier(0, "")
    for head in ("fc_norm", "attn_pool", "head_drop"):  # unused weights would stop DDP
        if isinstance(getattr(net, head, None), nn.Module):
            setattr(net, head, nn.Identity())


def _patch(net: Any) -> tuple[int, int] | None:
    """(height, width) of a token's patch in pixels; None of a network without patches of one size."""
    patches = getattr(net, "patch_embed", None)
    size, cells, patch = (getattr(patches, name, None) for name in ("img_size", "grid_size", "patch_size"))
    if size is not None and cells is not None:  # of what lies behind a convolutional stem, patches are counted in maps
        return size[0] // cells[0], size[1] // cells[1]
    return (patch, patch) if isinstance(patch, int) else patch
