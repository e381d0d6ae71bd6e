"""Encoders: a backbone seen as N tokens on the feature grid and one pooled vector."""

from abc import abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fex.texts.lora import StepDropout

__all__ = ["BaseEncoder", "Encoder", "EncoderOutput", "freeze_unused", "shares", "to_grid"]

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
