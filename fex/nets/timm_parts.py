"""A timm network as the backbone of an encoder: its weights, its sizes, its feature maps, its classifier."""

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

from torch import nn

from fex.nets.backbones.timm import build_timm, read_timm_weights
from fex.nets.encoder import PROBE
from fex.storage.description import building
from fex.storage.weights import load_state

__all__ = ["feature_levels", "linear_classifier", "load_backbone", "own_size", "probe_size"]


def own_size(net: nn.Module) -> tuple[int, int] | None:
    """(H, W) of the only inputs that a timm network takes, in pixels; None where others work, or it does not say."""
    patches: Any = getattr(net, "patch_embed", None)
    size = getattr(patches, "img_size", None)
    if size is None or not getattr(patches, "strict_img_size", True):
        return None
    return int(size[0]), int(size[1])


def probe_size(net: nn.Module, model_args: dict[str, Any]) -> tuple[int, int]:
    """(H, W) of inputs on which a timm network can be tried: its own, or smaller ones where it takes any."""
    given, config = model_args.get("img_size"), getattr(net, "pretrained_cfg", {})
    if given is not None:
        return (given, given) if isinstance(given, int) else (given[0], given[1])
    if (own := own_size(net)) is not None:
        return own
    height, width = config.get("input_size", (3, PROBE, PROBE))[1:]
    return (height, width) if config.get("fixed_input_size") else (min(height, PROBE), min(width, PROBE))


def feature_levels(model: str, net: nn.Module, levels: Sequence[int]) -> tuple[int, ...]:
    """Indices of a timm network's feature maps, from the first on, which is the order in which they come.

    Args:
        model: its name.
        net: the network.
        levels: some of its `feature_info`; negative ones count from the end.

    Raises:
        ValueError: a network without feature maps, or levels that it does not have.
    """
    if not hasattr(net, "forward_intermediates") or not hasattr(net, "feature_info"):
        raise ValueError(f"timm gives no feature maps of {model!r}: choose another one, or fex.nets.ViTEncoder.")
    count = len(net.feature_info)  # type: ignore[arg-type]
    if not levels or not all(-count <= level < count for level in levels):
        raise ValueError(
            f"{model!r} has the feature maps 0 ... {count - 1}, got levels {list(levels)}: set `levels` to some of "
            "them; -1 is the last."
        )
    return tuple(sorted({level % count for level in levels}))


def load_backbone(
    model: str, weights: str | None, model_args: dict[str, Any] | None, *, pretrained: bool
) -> tuple[nn.Module, dict[str, Any]]:
    """A timm network with hub weights, local or shipped ones, or none.

    Weights of a classifier fit a backbone whose head differs: tensors of the head are taken only where they fit.

    Returns:
        The network, and the metadata of weights written by this project (mean and std, model arguments).
    """
    tensors, meta = read_timm_weights(weights) if weights is not None else ({}, {})
    with building(tensors, str(weights)) if meta else nullcontext():
        arguments = {**meta.get("model_args", {}), **(model_args or {})}
        net = build_timm(model, arguments, pretrained=pretrained and not weights)
    if weights is not None:
        own = net.state_dict()
        if set(own) != set(tensors) and len(own) == len(tensors):  # a port: same order, other names
            tensors = dict(zip(own, tensors.values(), strict=True))
        head = tuple(f"{name}." for name, child in net.named_children() if child is net.get_classifier())
        fitting = {
            name: tensor
            for name, tensor in tensors.items()
            if not name.startswith(head) or (name in own and own[name].shape == tensor.shape)
        }
        load_state(net, {**{k: v for k, v in own.items() if k.startswith(head)}, **fitting}, source=weights)
    return net, meta


def linear_classifier(net: nn.Module) -> nn.Linear:
    """The linear layer at the end of a timm classifier, frozen.

    Raises:
        ValueError: a classifier that ends in something else.
    """
    head = net.get_classifier()
    if not isinstance(head, nn.Linear):
        raise ValueError(
            f"class_head needs a backbone that ends in one linear layer, got {type(head).__name__}: set class_head: "
            "false."
        )
    head.requires_grad_(requires_grad=False)
    return head
