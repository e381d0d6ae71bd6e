"""What the head of a timm network takes: feature maps with channels first or last, or tokens with others in front."""

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

__all__ = ["HeadLayout"]


class HeadLayout(NamedTuple):
    """How the features that `forward_head` takes lie.

    Attributes:
        kind: maps (B, D, h, w), maps (B, h, w, D), or tokens (B, prefix + h w, D).
        prefix: tokens in front that stand for no place.
        cells: (h, w).
    """

    kind: Literal["NCHW", "NHWC", "NLC"]
    prefix: int
    cells: tuple[int, int]

    @classmethod
    def of(cls, net: nn.Module, last: Tensor, size: tuple[int, int]) -> "HeadLayout":
        """The layout of features `last` of inputs of `size` (H, W).

        Raises:
            ValueError: features that are neither maps nor a grid of tokens.
        """
        if last.ndim == 4:
            width, tail = getattr(net, "num_features", None), getattr(net, "output_fmt", None)
            channels_last = tail == "NHWC" if tail else last.shape[3] == width != last.shape[1]
            if channels_last:
                return cls("NHWC", 0, (last.shape[1], last.shape[2]))
            return cls("NCHW", 0, (last.shape[2], last.shape[3]))
        prefix = int(getattr(net, "num_prefix_tokens", 0))
        count = last.shape[1] - prefix if last.ndim == 3 else 0
        height = max(1, round((max(count, 0) * size[0] / size[1]) ** 0.5))
        if count < 1 or count % height:
            raise ValueError(
                f"The features of {type(net).__name__}, {tuple(last.shape)}, are neither maps nor a grid of tokens: "
                "set class_head: false."
            )
        return cls("NLC", prefix, (height, count // height))

    def unfold(self, last: Tensor) -> Tensor:
        """Features as maps (B, D, h, w)."""
        if self.kind == "NLC":
            return last[:, self.prefix :].transpose(1, 2).unflatten(2, self.cells)
        return last.permute(0, 3, 1, 2) if self.kind == "NHWC" else last

    def fold(self, maps: Tensor) -> Tensor:
        """Maps (B, D, h, w) of any size as the head takes them; what is in front of tokens is their mean."""
        if self.kind == "NLC":
            tokens = maps.flatten(2).transpose(1, 2)
            return torch.cat([tokens.mean(1, keepdim=True).expand(-1, self.prefix, -1), tokens], 1)
        return maps.permute(0, 2, 3, 1) if self.kind == "NHWC" else maps
