"""What each token of a ViT gives to the class token, as the classifier reads it, from the network's own pass.

The class token of a pre-norm ViT is a sum, x_L = x_0 + sum_l (attention_l + mlp_l), and each attention is a sum over
tokens: attention_l = sum_n sum_h a_lh[cls, n] W_lh v_lh[n]. The classifier reads w_y . LN(x_L), which is linear in
these shares once the scale of that layer norm is held. So the shares of the last blocks are a class activation map of
every class, without a gradient ("direct contributions": Gandelsman, Efros, Steinhardt, "Interpreting CLIP's Image
Representation via Text-Based Decomposition", ICLR 2024, section 3).
"""

from typing import Any

import torch
from timm.layers import Attention, LayerNorm
from timm.models import VisionTransformer
from timm.models.vision_transformer import Block
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["SCALE", "direct_forward", "has_direct"]

# The shares sum to a logit; times this they fit the gate with which class maps start (`ExplainerNet.gate_start`). By
# least squares on masked photographs, ViT-Tiny.
SCALE = 20.0


def has_direct(net: Any) -> bool:
    """Whether `direct_forward` can take this network apart: a plain ViT whose classifier reads its class token."""
    return (
        type(net) is VisionTransformer
        and net.global_pool == "token"
        and net.cls_token is not None
        and isinstance(net.fc_norm, nn.Identity)
        and type(net.norm) in (nn.LayerNorm, LayerNorm)
        and all(type(block) is Block and _plain(block.attn) for block in net.blocks)
    )


def _plain(attn: nn.Module) -> bool:
    """Whether `_attend` does all that this attention does."""
    normed = getattr(attn, "norm", None)
    return type(attn) is Attention and isinstance(normed, nn.Identity | None) and getattr(attn, "gate", None) is None


def direct_forward(net: VisionTransformer, inputs: Tensor, layers: int) -> tuple[Tensor, Tensor]:
    """The network's features, and what the classifier reads of each patch's shares.

    Args:
        net: see `has_direct`.
        inputs: normalised, (B, 3, H, W).
        layers: how many of the last blocks are counted.

    Returns:
        `net.forward_features(inputs)`, (B, P + N, D), and (B, N, D): its product with the classifier's weights w_y,
        summed over n, is `SCALE` times what these blocks' attention to the patches gives to the logit of y.
    """
    x = net.norm_pre(net.patch_drop(net._pos_embed(net.patch_embed(inputs))))
    first = len(net.blocks) - layers
    shares = torch.zeros(())
    for number, block in enumerate(net.blocks):
        if number < first:
            x = block(x)
            continue
        update, share = _attend(block.attn, block.norm1(x))
        x = x + block.drop_path1(block.ls1(update))
        x = x + block.drop_path2(block.ls2(block.mlp(block.norm2(x))))
        shares = shares.to(share) + block.ls1(share)
    deviation = (x[:, :1].var(-1, unbiased=False, keepdim=True) + net.norm.eps).sqrt()
    read = (shares - shares.mean(-1, keepdim=True)) / deviation * net.norm.weight
    return net.norm(x), SCALE * read[:, net.num_prefix_tokens :]


def _attend(attn: Attention, x: Tensor) -> tuple[Tensor, Tensor]:
    """`attn(x)`, and the parts of its first row that come from each token, (B, T, D): they sum to it, less the bias."""
    query, key, value = attn.qkv(x).unflatten(-1, (3, attn.num_heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
    query, key = attn.q_norm(query), attn.k_norm(key)
    mixed = F.scaled_dot_product_attention(query, key, value, scale=attn.scale).transpose(1, 2).flatten(2)
    weight = (query[:, :, :1] * attn.scale @ key.transpose(-2, -1)).softmax(-1)
    parts = (weight.transpose(-2, -1) * value).transpose(1, 2).flatten(2)
    nothing = attn.proj(torch.zeros_like(parts[:1, :1]))
    return attn.proj_drop(attn.proj(mixed)), attn.proj(parts) - nothing
