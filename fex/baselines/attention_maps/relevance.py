"""Relevance of the input tokens of a transformer: AttLRP (Chefer et al. 2021), attention rollout (Abnar, Zuidema 2020).

AttLRP: the relevance of one class is propagated from its logit to every attention map, weighted by the map's gradient,
cut at 0, averaged over heads, and the maps are multiplied over the layers with the identity for the residuals.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from fex.baselines.attention_maps.layers import (
    Affine,
    Head,
    Layer,
    LayerTape,
    Transformer,
    first_input,
    run_head,
    run_layer,
)
from fex.baselines.attention_maps.rules import add_rule, linear_rule, mean_rule, product_rule

__all__ = ["attention_rollout", "head_relevance", "layer_relevance", "relevance_rollout"]


def head_relevance(head: Head, tokens: Tensor, stage_inputs: list[Tensor], relevance: Tensor) -> Tensor:
    """Relevance of the logits (B, C) -> of the last tokens (B, L, D)."""
    for stage, values in zip(reversed(head.stages), reversed(stage_inputs), strict=True):
        if isinstance(stage, Affine):
            relevance = linear_rule(relevance, values, stage.weight)
    found = torch.zeros_like(tokens)
    if head.pool == "first":
        found[:, 0] = relevance
    else:
        found[:, head.prefix :] = mean_rule(relevance, head.norm(tokens)[:, head.prefix :])
    return found


def layer_relevance(layer: Layer, tape: LayerTape, relevance: Tensor) -> tuple[Tensor, Tensor]:
    """Relevance of a layer's outputs (B, L, D) -> of its inputs (B, L, D), and of its attention (B, heads, L, L)."""
    between, residual = add_rule(relevance, tape.between, tape.residual2)
    hidden = linear_rule(residual, tape.hidden, layer.down.weight)
    between = between + linear_rule(hidden, tape.rising, layer.up.weight)

    inputs, residual = add_rule(between, tape.inputs, tape.residual1)
    mixed = linear_rule(residual, tape.mixed, layer.out.weight).unflatten(-1, (layer.heads, -1)).transpose(1, 2)
    attention, values = product_rule(mixed, tape.attention, tape.values)
    queries, keys = product_rule(attention, tape.queries, tape.keys.transpose(-1, -2))
    for part, linear in ((queries, layer.query), (keys.transpose(-1, -2), layer.key), (values, layer.value)):
        inputs = inputs + linear_rule(part.transpose(1, 2).flatten(2), tape.attended, linear.weight)
    return inputs, attention


def _tapes(net: Transformer, run: Callable[[], Tensor], bias: Tensor | None) -> tuple[list[LayerTape], Tensor]:
    """The layers' tapes, with gradient where it is enabled, and logits; checked against the network's own."""
    embedded, expected = first_input(net.entry, run)
    tokens = embedded.detach().clone().requires_grad_()
    tapes: list[LayerTape] = []
    for layer in net.layers:
        tapes.append(
            run_layer(layer, tapes[-1].outputs if tapes else tokens, None if bias is None else bias.to(tokens))
        )
    logits, _ = run_head(net.head, tapes[-1].outputs)
    error = float((logits.detach() - expected).abs().amax())
    if error > 1e-3 * max(1.0, float(expected.abs().amax())):
        raise ValueError(
            f"The transformer computes other logits than its layers as they are read here (by up to {error:.3g}): it "
            "has parts that are not known. Use GradCAM, or a plain ViT or BERT."
        )
    return tapes, logits


def _roll(maps: list[Tensor], head: Head) -> Tensor:
    """Product of maps (B, L, L) over the layers, at the token that is pooled: (B, L)."""
    joint = maps[0]
    for each in maps[1:]:
        joint = each @ joint
    return joint[:, 0] if head.pool == "first" else joint[:, head.prefix :].mean(1)


def relevance_rollout(
    net: Transformer, run: Callable[[], Tensor], target: Tensor, bias: Tensor | None = None
) -> Tensor:
    """AttLRP: relevance of every token for the classes `target`, in the precision of `net`.

    That should be float64 (`fex.baselines.base.in_float64`): relevance is divided by sums of signed terms, some of
    which nearly cancel.

    Args:
        net: the layers (`fex.baselines.attention_maps.read_transformer`).
        run: runs the whole network in evaluation mode and returns its logits (B, C).
        target: (B,), int64.
        bias: (B, 1, 1, L), added to the attention's logits; -inf or very negative at padding.

    Returns:
        (B, L), non-negative.

    Raises:
        ValueError: the network computes something else than these layers.
    """
    with torch.enable_grad():
        tapes, logits = _tapes(net, run, bias)
        chosen = logits.gather(1, target.unsqueeze(1)).sum()
        gradients = torch.autograd.grad(chosen, [tape.attention for tape in tapes])
    with torch.no_grad():
        _, stage_inputs = run_head(net.head, tapes[-1].outputs)
        one_hot = torch.zeros_like(logits).scatter_(1, target.unsqueeze(1), 1.0)
        relevance = head_relevance(net.head, tapes[-1].outputs, stage_inputs, one_hot)
        maps: list[Tensor] = []
        for layer, tape, gradient in reversed(list(zip(net.layers, tapes, gradients, strict=True))):
            relevance, attention = layer_relevance(layer, tape, relevance)
            weighted = (gradient * attention).clamp_min(0).mean(1)
            maps.insert(0, weighted + torch.eye(weighted.shape[-1]).to(weighted))
        return _roll(maps, net.head)


def attention_rollout(net: Transformer, run: Callable[[], Tensor], bias: Tensor | None = None) -> Tensor:
    """Attention rollout: product over layers of (mean over heads + identity) / 2; blind to the class.

    Arguments, result (B, L) and error as of `relevance_rollout`; values sum to 1.
    """
    tapes, _ = _tapes(net, run, bias)
    maps = [tape.attention.detach().mean(1) for tape in tapes]
    return _roll([(each + torch.eye(each.shape[-1], device=each.device)) / 2 for each in maps], net.head)
