"""Encoders: a backbone seen as N tokens on the feature grid and one pooled vector."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fex.nets.backbones.timm import build_timm, read_timm_weights
from fex.storage.description import building
from fex.storage.weights import load_state
from fex.texts.lora import StepDropout

__all__ = [
    "Encoder",
    "EncoderOutput",
    "BaseEncoder",
    "feature_levels",
    "freeze_unused",
    "linear_classifier",
    "load_backbone",
    "own_size",
    "probe_size",
    "shares",
    "to_grid",
]

PROBE = 128  # pixels a side at most of what a network that takes any size is tried on


def to_grid(maps: Tensor, grid: tuple[int, int]) -> Tensor:
    """Feature maps (B, D, h, w) at the feature grid: averaged where they are finer, bilinear where coarser."""
    if tuple(maps.shape[-2:]) == grid:
        return maps
    if maps.shape[-2] >= grid[0] and maps.shape[-1] >= grid[1]:
        return F.adaptive_avg_pool2d(maps, grid)
    return F.interpolate(maps, size=grid, mode="bilinear", align_corners=False)


def shares(cells: int, cell: int, parts: int, side: int) -> Tensor:
    """How much of each of `parts` equal parts of `side` pixels each cell covers: (parts, cells), rows sum to 1.

    For cells of `cell` pixels that reach beyond the image, which was padded: what they cover there counts nothing.

    Example:
        >>> shares(2, 4, 2, 6)
        tensor([[1.0000, 0.0000],
                [0.3333, 0.6667]])
    """
    inner, outer = torch.arange(cells + 1.0) * cell, torch.arange(parts + 1.0) * side / parts
    ends = torch.minimum(outer[1:, None], inner[None, 1:])
    overlap = (ends - torch.maximum(outer[:-1, None], inner[None, :-1])).clamp_min(0)
    return overlap / overlap.sum(1, keepdim=True)


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


class EncoderOutput(NamedTuple):
    """What an encoder gives.

    Attributes:
        tokens: (B, N, D), row by row.
        pooled: (B, D).
        classes: logits (B, C) of the backbone's own classifier, where it has one for the black box's classes.
        local: what that classifier's linear layer would read at each token alone, (B, N, E): class evidence by place.
    """

    tokens: Tensor
    pooled: Tensor
    classes: Tensor | None = None
    local: Tensor | None = None


def freeze_unused(module: nn.Module, run: Callable[[], Tensor]) -> None:
    """Freezes what takes no part in `run`: DDP refuses trainable weights without gradient."""
    run().backward()
    for parameter in module.parameters():
        parameter.requires_grad_(parameter.requires_grad and parameter.grad is not None)
        parameter.grad = None


class BaseEncoder(nn.Module):
    """Base of the encoders of any modality.

    Dropout is off and batch statistics stay fixed at all times: the rollout and the update must see one policy, or
    the ratio between them is noise. Only the dropout of LoRA, which draws once a step, follows the training mode.

    Args:
        dim: D.
        init_args: plain data that builds it again, without pretrained weights.
        frozen: train only what stands on top of the encoder.

    Attributes:
        dim: D.
        size: (H, W) of its inputs in pixels; None if it takes any.
        init_args: plain data that builds it again, without pretrained weights.
        contrasts: whether maps start from the evidence for a class against the others, instead of its own alone.
    """

    size: tuple[int, int] | None = None
    contrasts = False

    def __init__(self, dim: int, init_args: dict[str, Any], *, frozen: bool) -> None:
        super().__init__()
        self.dim, self.frozen, self.init_args = dim, frozen, init_args

    def train(self, mode: bool = True) -> "BaseEncoder":  # noqa: FBT001, FBT002 torch's signature
        """Stays in evaluation mode, but for the dropout of LoRA."""
        super().train(mode=False)
        for part in self.modules():
            if isinstance(part, StepDropout):
                part.training = mode
        return self

    @abstractmethod
    def forward(self, inputs: Tensor, grid: tuple[int, int] | None) -> EncoderOutput:
        """Inputs (B, ...), as datamodules give them -> float32 `EncoderOutput`, one token a feature."""

    def merge(self) -> None:  # noqa: B027 most have none
        """Adds what was trained beside the weights to these; most encoders have no such thing."""

    @property
    def class_weight(self) -> Tensor | None:
        """Weights (C, E) that read `EncoderOutput.local`; None for an encoder without a classifier."""
        return None


class Encoder(BaseEncoder):
    """Base of the encoders of images.

    Args:
        dim: D.
        mean: normalisation of its inputs, RGB in [0, 1]; a value a channel.
        std: the same.
        init_args: see `BaseEncoder`.
        frozen: see there.

    Attributes:
        mean, std: as buffers.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, dim: int, mean: tuple[float, ...], std: tuple[float, ...], init_args: dict[str, Any], *, frozen: bool
    ) -> None:
        super().__init__(dim, init_args, frozen=frozen)
        channels = (init_args.get("model_args") or {}).get("in_chans", 3)
        if not len(mean) == len(std) == channels:
            raise ValueError(
                f"The encoder's network takes {channels} channels, got mean {list(mean)} and std {list(std)}: set "
                "`mean` and `std` to a value for each, and in_chans in `model_args` to their number."
            )
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1), persistent=False)

    @abstractmethod
    def encode(self, inputs: Tensor, grid: tuple[int, int]) -> EncoderOutput | tuple[Tensor, Tensor]:
        """Normalised inputs (B, 3, H, W) -> tokens (B, N, D) on `grid`, pooled (B, D); classes and local if known."""

    def forward(self, inputs: Tensor, grid: tuple[int, int] | None) -> EncoderOutput:
        """Inputs (B, 3, H, W) in [0, 1] -> float32 `EncoderOutput` on `grid`; other channels where `mean` has others.

        Raises:
            ValueError: inputs of another number of channels, which would be spread over those of `mean` in silence.
        """
        if inputs.shape[1] != (channels := self.mean.shape[1]):
            raise ValueError(
                f"Got inputs of shape {tuple(inputs.shape)}, expected (B, {channels}, H, W): the explainer's encoder "
                f"takes {channels} channels. For others give it `mean` and `std` with a value for each, and a network "
                "of so many (model_args: {in_chans: 4})."
            )
        context: AbstractContextManager[Any] = torch.no_grad() if self.frozen else nullcontext()
        with context:
            found = EncoderOutput(*self.encode((inputs - self.mean) / self.std, grid))
        return EncoderOutput(*(part if part is None else part.float() for part in found))


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
