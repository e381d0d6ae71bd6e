"""A transformer as the parts that explanation needs, and its forward pass with everything kept."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["Head", "Layer", "LayerTape", "Transformer", "first_input", "run_head", "run_layer"]

Function = Callable[[Tensor], Tensor]


class Affine(NamedTuple):
    """A linear map: weight (O, I) and bias (O,)."""

    weight: Tensor
    bias: Tensor | None

    def __call__(self, inputs: Tensor) -> Tensor:
        return F.linear(inputs, self.weight, self.bias)


@dataclass(frozen=True)
class Layer:
    """Self-attention and a two-layer perceptron, each with a residual.

    Attributes:
        query, key, value, out, up, down: the linear maps, in the order in which they are used.
        heads: attention heads.
        norm1, norm2: of attention and perceptron; before them where `norm_first` (ViT), else after the sum (BERT).
        activation: between `up` and `down`.
        query_norm, key_norm: of the heads' queries and keys.
        scale1, scale2: element-wise scaling of both residuals.
    """

    query: Affine
    key: Affine
    value: Affine
    out: Affine
    up: Affine
    down: Affine
    heads: int
    norm1: Function
    norm2: Function
    activation: Function
    norm_first: bool
    query_norm: Function = nn.Identity()
    key_norm: Function = nn.Identity()
    scale1: Function = nn.Identity()
    scale2: Function = nn.Identity()


@dataclass(frozen=True)
class Head:
    """From the last tokens to the logits.

    Attributes:
        norm: of the tokens.
        pool: "first" takes the first token, "mean" the mean of those after the `prefix`.
        prefix: tokens in front that stand for no part of the input.
        stages: what follows: linear maps, and functions of single elements.
    """

    norm: Function
    pool: Literal["first", "mean"]
    prefix: int
    stages: tuple[Affine | Function, ...]


@dataclass(frozen=True)
class Transformer:
    """Layers and head; `entry` is the network's own first layer, whose input is the embedded tokens."""

    entry: nn.Module
    layers: tuple[Layer, ...]
    head: Head


@dataclass(frozen=True)
class LayerTape:
    """What a layer computed, by the names of `run_layer`; tokens (B, L, D), heads (B, heads, L, ...)."""

    inputs: Tensor
    attended: Tensor
    queries: Tensor
    keys: Tensor
    values: Tensor
    attention: Tensor
    mixed: Tensor
    residual1: Tensor
    between: Tensor
    rising: Tensor
    hidden: Tensor
    residual2: Tensor
    outputs: Tensor


def run_layer(layer: Layer, inputs: Tensor, bias: Tensor | None) -> LayerTape:
    """One layer on tokens (B, L, D); `bias` (B, 1, 1, L) is added to the attention's logits."""

    def heads(values: Tensor) -> Tensor:
        return values.unflatten(-1, (layer.heads, -1)).transpose(1, 2)

    attended = layer.norm1(inputs) if layer.norm_first else inputs
    queries, keys = layer.query_norm(heads(layer.query(attended))), layer.key_norm(heads(layer.key(attended)))
    values = heads(layer.value(attended))
    logits = queries @ keys.transpose(-1, -2) * keys.shape[-1] ** -0.5
    attention = (logits if bias is None else logits + bias).softmax(-1)
    mixed = (attention @ values).transpose(1, 2).flatten(2)
    residual1 = layer.scale1(layer.out(mixed))
    between = inputs + residual1 if layer.norm_first else layer.norm1(inputs + residual1)
    rising = layer.norm2(between) if layer.norm_first else between
    hidden = layer.activation(layer.up(rising))
    residual2 = layer.scale2(layer.down(hidden))
    outputs = between + residual2 if layer.norm_first else layer.norm2(between + residual2)
    return LayerTape(
        inputs,
        attended,
        queries,
        keys,
        values,
        attention,
        mixed,
        residual1,
        between,
        rising,
        hidden,
        residual2,
        outputs,
    )


def run_head(head: Head, tokens: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Logits (B, C), and the input of each stage, (B, D); the first is the pooled tokens."""
    tokens = head.norm(tokens)
    values = tokens[:, 0] if head.pool == "first" else tokens[:, head.prefix :].mean(1)
    inputs = []
    for stage in head.stages:
        inputs.append(values)
        values = stage(values)
    return values, inputs


def first_input(entry: nn.Module, run: Callable[[], Tensor]) -> tuple[Tensor, Tensor]:
    """Embedded tokens (B, L, D) that `entry` is given while the network runs, and what it answers, (B, C)."""
    seen: list[Tensor] = []

    def hook(_module: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Tensor]) -> None:
        seen.append(args[0] if args else kwargs["hidden_states"])

    handle = entry.register_forward_pre_hook(hook, with_kwargs=True)
    try:
        with torch.no_grad():
            logits = run()
    finally:
        handle.remove()
    return seen[0], logits
