"""Which layer GradCAM looks at, found by running the network once. Nobody is asked for a `reshape_transform`."""

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

__all__ = ["Call", "calls_of", "find_layer", "last_map", "to_map", "token_grid"]

# What timm and transformers call the norm before a block's attention. The last one is the last place where every
# token still reaches the prediction; after it, only the class token does.
TOKEN_NORMS = ("norm1", "layernorm_before", "layer_norm1")
BLOCK_NORM = re.compile(r"\.\d+\.norm$")  # of a block that has but one, as those of gMLP


def token_grid(tokens: int, size: tuple[int, int], prefixes: tuple[int, ...]) -> tuple[int, int, int]:
    """(prefix, h, w) of a token sequence over an image of `size` (H, W): the first prefix that leaves a grid.

    Raises:
        ValueError: none does.
    """
    for prefix in dict.fromkeys(prefixes):
        count = tokens - prefix
        height = round((max(count, 0) * size[0] / size[1]) ** 0.5)
        for h in (height, height - 1, height + 1):  # rounding of odd aspect ratios
            if h > 0 and count % h == 0 and abs(count / h - h * size[1] / size[0]) < 1:
                return prefix, h, count // h
    raise ValueError(
        f"{tokens} tokens are no grid over {size[0]} x {size[1]} pixels with {list(dict.fromkeys(prefixes))} tokens "
        "in front: set `target_layer` to a layer whose output is a feature map."
    )


def to_map(values: Tensor, size: tuple[int, int], net: nn.Module) -> Tensor:
    """Activations or gradients of a layer as (B, D, h, w), whether it gives tokens (B, L, D), NCHW or NHWC."""
    if values.ndim == 3:
        config = getattr(net, "config", None)
        known = getattr(net, "num_prefix_tokens", None)
        registers = getattr(config, "num_register_tokens", 0) or 0
        prefix, height, width = token_grid(values.shape[1], size, (known or 0, 1 + registers, 1, 0, 2))
        return values[:, prefix:].transpose(1, 2).unflatten(2, (height, width))
    if values.ndim != 4:
        raise ValueError(
            f"GradCAM's layer returned shape {tuple(values.shape)}, expected a feature map (B, D, h, w) or tokens "
            "(B, L, D): set `target_layer` to a layer that returns one."
        )
    return values.permute(0, 3, 1, 2) if _channels_last(tuple(values.shape), size, net) else values


def _channels_last(shape: tuple[int, ...], size: tuple[int, int], net: nn.Module) -> bool:
    _, a, b, c = shape
    width = getattr(net, "num_features", None)
    if hasattr(net, "output_fmt") and (width == a) != (width == c):  # timm's networks that are NHWC inside
        return width == c
    # A map has the image's proportions.
    return abs(a * size[1] - b * size[0]) < abs(b * size[1] - c * size[0])


class Call(NamedTuple):
    """One run of a layer in a forward pass.

    Attributes:
        name: dotted name of the layer.
        layer: itself.
        number: 0 for its first run, 1 for its second, ...
        shape: of what it returned; empty where that is no tensor of the batch.
    """

    name: str
    layer: nn.Module
    number: int
    shape: tuple[int, ...]


def calls_of(net: nn.Module, run: Callable[[Tensor], object], inputs: Tensor) -> list[Call]:
    """Every run of every layer of `net` while `run` takes `inputs` (b, 3, H, W), in the order in which they end."""
    calls: list[Call] = []
    runs: Counter[str] = Counter()

    def note(name: str) -> Callable[..., None]:
        def hook(layer: nn.Module, _inputs: object, output: object) -> None:
            whole = isinstance(output, Tensor) and output.ndim >= 1 and output.shape[0] == len(inputs)
            calls.append(Call(name, layer, runs[name], tuple(output.shape) if whole else ()))  # type: ignore[attr-defined]
            runs[name] += 1

        return hook

    handles = [module.register_forward_hook(note(name)) for name, module in net.named_modules() if name]
    try:
        with torch.no_grad():
            run(inputs)
    finally:
        for handle in handles:
            handle.remove()
    return calls


def _cells(shape: tuple[int, ...], size: tuple[int, int], net: nn.Module) -> tuple[int, ...]:
    """(h, w) of a shape of four axes."""
    return shape[1:3] if _channels_last(shape, size, net) else shape[2:]


def _is_map(shape: tuple[int, ...], size: tuple[int, int], net: nn.Module) -> bool:
    """Whether it is a feature map of more than one cell."""
    return len(shape) == 4 and min(_cells(shape, size, net)) > 1


def last_map(net: nn.Module, calls: Sequence[Call], size: tuple[int, int]) -> int:
    """Number of the last of a layer's runs that gave a map or tokens; its last one where none did."""
    for call in reversed(calls):
        if _is_map(call.shape, size, net) or (len(call.shape) == 3 and call.shape[1] > 1):
            return call.number
    return calls[-1].number if calls else 0


def find_layer(net: nn.Module, calls: Sequence[Call], size: tuple[int, int]) -> tuple[str, int]:
    """The layer to look at: the last norm before attention, else the last feature map of more than a cell.

    Of blocks with one norm each, whose tokens are the cells of the embedding alone, the last such norm.

    Args:
        net: the network.
        calls: its layers' runs (`calls_of`).
        size: (H, W) of the inputs.

    Returns:
        Its name, and the number of its run: a layer that runs twice, such as a pooling, is another place each time.

    Raises:
        ValueError: the network has neither; names what to do.
    """
    tokens = [c for c in calls if len(c.shape) == 3 and c.name.rpartition(".")[2] in TOKEN_NORMS]
    if tokens:
        return tokens[-1].name, tokens[-1].number
    maps = [place for place, call in enumerate(calls) if _is_map(call.shape, size, net)]
    # Tokens after the last map: a transformer of a kind not known here, whose map is only its patch embedding.
    later = [call for call in calls[maps[-1] + 1 :] if len(call.shape) == 3 and call.shape[1] > 1] if maps else []
    if later:
        # As many tokens as the embedding has cells: no class token, so that every one reaches the prediction.
        cells = math.prod(_cells(calls[maps[-1]].shape, size, net))
        if norms := [call for call in later if BLOCK_NORM.search(call.name) and call.shape[1] == cells]:
            return norms[-1].name, norms[-1].number
    if not maps or later:
        raise ValueError(
            f"GradCAM found no feature map in {type(net).__name__}: set `target_layer` to the dotted name of a layer "
            "that returns (B, D, h, w) or tokens (B, L, D), such as the norm of the last attention block."
        )
    return calls[maps[-1]].name, calls[maps[-1]].number
