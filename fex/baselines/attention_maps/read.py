"""Reads the layers of timm's vision transformers and of transformers' ViT, BERT and RoBERTa classifiers.

What is read is checked where it is used: the layers must give the network's own logits.
"""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from fex.baselines.attention_maps.layers import Affine, Head, Layer, Transformer

__all__ = ["read_transformer"]


def read_transformer(net: nn.Module) -> Transformer:
    """The layers of a classifier with self-attention.

    Raises:
        ValueError: a network of another kind; says which are known.
    """
    try:
        if hasattr(net, "blocks") and hasattr(net, "forward_head"):
            return _timm_vit(net)
        body = getattr(net, "base_model", None)
        if hasattr(body, "layernorm"):
            return _hub_vit(net, body)
        if hasattr(getattr(body, "encoder", None), "layer"):
            return _bert(net, body)
    except (AttributeError, TypeError, IndexError, ValueError) as error:
        raise ValueError(_unknown(net, f" ({error})")) from error
    raise ValueError(_unknown(net, ""))


def _unknown(net: nn.Module, why: str) -> str:
    return (
        f"{type(net).__name__} is no transformer that can be read{why}: AttLRP and attention rollout know timm's "
        "VisionTransformer, and the ViT, BERT and RoBERTa classifiers of transformers. Use GradCAM for other networks."
    )


def _affine(linear: Any) -> Affine:
    if not isinstance(linear, nn.Linear):
        raise ValueError(f"it has a {type(linear).__name__} where a linear layer is expected")
    return Affine(linear.weight, linear.bias)


def _check_all_read(block: Any, parts: list[Any]) -> None:
    """Refuses a layer that has weights beside those of `parts`, as Longformer's for its global tokens."""
    read = {id(parameter) for part in parts for parameter in part.parameters()}
    other = [name for name, parameter in block.named_parameters() if id(parameter) not in read]
    if other:
        raise ValueError(f"its layers have parts that are not known, such as {other[0]}")


def _dropless(module: nn.Module) -> bool:
    return not isinstance(module, nn.Dropout | nn.Identity)


def _timm_vit(net: Any) -> Transformer:
    layers = []
    for block in net.blocks:
        weights = block.attn.qkv.weight.chunk(3)
        biases = (None,) * 3 if block.attn.qkv.bias is None else block.attn.qkv.bias.chunk(3)
        query, key, value = (Affine(*pair) for pair in zip(weights, biases, strict=True))
        layers.append(
            Layer(
                query, key, value, _affine(block.attn.proj), _affine(block.mlp.fc1), _affine(block.mlp.fc2),
                heads=block.attn.num_heads, norm1=block.norm1, norm2=block.norm2, activation=block.mlp.act,
                norm_first=True, query_norm=block.attn.q_norm, key_norm=block.attn.k_norm,
                scale1=block.ls1, scale2=block.ls2,
            )
        )  # fmt: skip
    pools: dict[str, Any] = {"token": "first", "avg": "mean"}
    if net.global_pool not in pools:
        raise ValueError(f"it pools by {net.global_pool!r}")
    stages = tuple(stage for stage in (net.fc_norm,) if _dropless(stage))
    head = Head(net.norm, pools[net.global_pool], int(net.num_prefix_tokens), (*stages, _affine(net.head)))
    return Transformer(net.blocks[0], tuple(layers), head)


def _hub_vit(net: Any, body: Any) -> Transformer:
    layers, blocks = [], body.layers if hasattr(body, "layers") else body.encoder.layer
    for block in blocks:
        linears, activation = _vit_linears(block)
        query, key, value, out, up, down = (_affine(linear) for linear in linears)
        layers.append(
            Layer(
                query, key, value, out, up, down, heads=net.config.num_attention_heads, norm1=block.layernorm_before,
                norm2=block.layernorm_after, activation=activation, norm_first=True,
            )
        )  # fmt: skip
    head = Head(body.layernorm, "first", 1, (_affine(net.classifier),))
    return Transformer(blocks[0], tuple(layers), head)


def _vit_linears(block: Any) -> tuple[tuple[Any, ...], Any]:
    """Linear maps in the order in which they are used, and the activation, in old and new releases of transformers."""
    attention = block.attention
    if hasattr(block, "mlp"):
        mlp = block.mlp
        return (
            (attention.q_proj, attention.k_proj, attention.v_proj, attention.o_proj, mlp.fc1, mlp.fc2),
            mlp.activation_fn,
        )
    own, up = attention.attention, block.intermediate
    return (
        (own.query, own.key, own.value, attention.output.dense, up.dense, block.output.dense),
        up.intermediate_act_fn,
    )


def _bert(net: Any, body: Any) -> Transformer:
    layers = []
    for block in body.encoder.layer:
        own, after = block.attention.self, block.attention.output
        linears = (own.query, own.key, own.value, after.dense, block.intermediate.dense, block.output.dense)
        query, key, value, out, up, down = (_affine(linear) for linear in linears)
        _check_all_read(block, [*linears, after.LayerNorm, block.output.LayerNorm])
        layers.append(
            Layer(
                query, key, value, out, up, down, heads=net.config.num_attention_heads, norm1=after.LayerNorm,
                norm2=block.output.LayerNorm, activation=block.intermediate.intermediate_act_fn, norm_first=False,
            )
        )  # fmt: skip
    stages: tuple[Affine | Callable[[Tensor], Tensor], ...]
    if hasattr(net.classifier, "out_proj"):  # RoBERTa
        stages = (_affine(net.classifier.dense), Tensor.tanh, _affine(net.classifier.out_proj))
    else:
        stages = (_affine(body.pooler.dense), body.pooler.activation, _affine(net.classifier))
    return Transformer(body.encoder.layer[0], tuple(layers), Head(nn.Identity(), "first", 1, stages))
