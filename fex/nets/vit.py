"""Token encoder: any timm transformer whose features are tokens."""

from typing import Any

import timm
from torch import Tensor, nn

from fex.lora import add_lora
from fex.nets.encoder import Encoder, EncoderOutput, linear_classifier, load_backbone, to_grid

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
        lora_rank: if positive, train rank-r updates of the blocks' linear layers (attention and MLP) instead of the
            backbone itself (needs the `text` extra's `peft`).

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
        lora_rank: int = 0,
        mean: tuple[float, float, float] | None = None,
        std: tuple[float, float, float] | None = None,
    ) -> None:
        net, meta = load_backbone(model, weights, model_args, pretrained=pretrained)
        if not hasattr(net, "patch_embed") or not hasattr(net, "num_prefix_tokens"):
            raise ValueError(
                f"{model!r} has no patch tokens: use fex.nets.PyramidEncoder or fex.nets.UNetEncoder for it."
            )
        data = timm.data.resolve_model_data_config(net)
        mean, std = tuple(mean or meta.get("mean") or data["mean"]), tuple(std or meta.get("std") or data["std"])
        arguments = {**meta.get("model_args", {}), **(model_args or {})}
        init_args = {
            "model": model, "model_args": arguments, "frozen": frozen,
            "class_head": class_head, "lora_rank": lora_rank,
            "mean": list(mean), "std": list(std),
        }  # fmt: skip
        super().__init__(net.num_features, mean, std, init_args, frozen=frozen)
        self.class_head = class_head
        if class_head:
            linear_classifier(net)
        else:
            net.reset_classifier(0, "")
        for head in ("fc_norm", "attn_pool", "head_drop") if not class_head else ():  # unused weights would stop DDP
            if isinstance(getattr(net, head, None), nn.Module):
                setattr(net, head, nn.Identity())
        self.prefix = int(net.num_prefix_tokens)
        self.grid = tuple(net.patch_embed.grid_size)
        self.size = tuple(net.patch_embed.img_size)
        if frozen or lora_rank:
            net.requires_grad_(requires_grad=False)
        if lora_rank:
            net = add_lora(net, lora_rank)
        self.net = net
        self.eval()

    def encode(self, inputs: Tensor, grid: tuple[int, int]) -> EncoderOutput:
        """See `Encoder`; pooled is the class token, or the mean of the tokens where there is none."""
        features = self.net.forward_features(inputs)
        tokens = features[:, self.prefix :]
        pooled = features[:, 0] if self.prefix else tokens.mean(1)
        if tuple(self.grid) != grid:
            maps = tokens.transpose(1, 2).unflatten(2, self.grid)
            tokens = to_grid(maps, grid).flatten(2).transpose(1, 2)
        return EncoderOutput(tokens, pooled, *(self._evidence(features, tokens) if self.class_head else ()))

    def _evidence(self, features: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (B, C), and what the linear layer reads where all tokens are the same one, (B, N, E)."""
        alone = tokens.flatten(0, 1).unsqueeze(1).expand(-1, self.prefix + 1, -1)
        local = self.net.forward_head(alone, pre_logits=True)
        return self.net.forward_head(features), local.unflatten(0, tokens.shape[:2])

    @property
    def class_weight(self) -> Tensor | None:
        """See `Encoder`."""
        return linear_classifier(self.net).weight if self.class_head else None
