"""The mask and student networks of several instances at once: one group of channels each, so kernels stay large.

They compute in the type of their inputs, whatever that of their weights; masks and scores are float32 (or float64).
"""

from math import ceil, prod
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fex.dax.layers import Convs, Linears, Weights

__all__ = ["Architecture", "MaskNets", "StudentNets", "apply_masks"]

Architecture = Literal["cnn2_fc1", "fc2", "cnn2_fc2"]


class MaskNets(nn.Module):
    """f_M: two convolutions and a sigmoid, one mask for all colours.

    Args:
        generators: one an instance, for its initial weights.
        size: (h, w) of the inputs and masks.
        width: hidden channels.
        kernel: odd side of both kernels, in working pixels.
        stride: of the first convolution; the mask is brought back to the input's size bilinearly.
        places: add an offset of each place's own, which starts at 0.
    """

    def __init__(
        self,
        generators: list[torch.Generator],
        size: tuple[int, int],
        *,
        width: int = 32,
        kernel: int = 7,
        stride: int = 1,
        places: bool = False,
    ) -> None:
        super().__init__()
        if width < 1 or stride < 1 or kernel < 1 or kernel % 2 == 0:
            raise ValueError(
                f"Mask nets need width >= 1, stride >= 1 and an odd kernel, got {width}, {stride} and {kernel}."
            )
        self.first = Convs(3, width, kernel, stride, generators)
        self.second = Convs(width, 1, kernel, 1, generators, block=2)
        offsets = torch.zeros(len(generators), *self.first.output_size(size))
        self.offsets = nn.Parameter(offsets) if places else None
        self.size = size

    def prepare(self, x: Tensor) -> Tensor:
        """Pictures as `forward` takes them, linear in them."""
        return self.first.blocks(x)

    def forward(self, prepared: Tensor) -> Tensor:
        """Prepared inputs (b, I * 3, h, w) -> masks (b, I, h, w), in (0, 1)."""
        hidden = F.relu(self.first.blocked(prepared, self.size))
        logits = self.second(hidden).to(torch.promote_types(prepared.dtype, torch.float32))
        if self.offsets is not None:
            logits = logits + self.offsets
        if logits.shape[-2:] != self.size:
            rows, columns = (_linear(logits, dim, side) for dim, side in zip((-2, -1), self.size, strict=True))
            logits = rows.T @ logits @ columns  # bilinear, and several times faster than by torch's kernel
        return logits.sigmoid()


def _linear(x: Tensor, dim: int, size: int) -> Tensor:
    """The matrix (own size, size) of linear interpolation along a dimension."""
    own = torch.eye(x.shape[dim], dtype=x.dtype, device=x.device)
    return F.interpolate(own[None], size=size, mode="linear", align_corners=False)[0]


class StudentNets(nn.Module):
    """f_S: the three architectures of Table VI, with a sigmoid.

    Args:
        generators: one an instance, for its initial weights.
        size: (h, w) of the inputs, at most 128 x 128.
        architecture: "cnn2_fc1" (two convolutions, one fully connected layer), "fc2" or "cnn2_fc2".
        width: channels of the first convolution; the second has twice as many.
        hidden: units of the hidden fully connected layer.

    Raises:
        ValueError: an unknown architecture, too large an input, or widths below 1.
    """

    def __init__(
        self,
        generators: list[torch.Generator],
        size: tuple[int, int],
        *,
        architecture: Architecture = "cnn2_fc2",
        width: int = 8,
        hidden: int = 64,
    ) -> None:
        super().__init__()
        if architecture not in ("cnn2_fc1", "fc2", "cnn2_fc2"):
            raise ValueError(f"Got architecture={architecture!r}, expected 'cnn2_fc1', 'fc2' or 'cnn2_fc2'.")
        if prod(size) > 128 * 128:
            raise ValueError(
                f"The student got inputs of {size} pixels, expected at most 128 x 128: lower `resolution`."
            )
        if width < 1 or hidden < 1:
            raise ValueError(f"The student needs width >= 1 and hidden >= 1, got {width} and {hidden}.")
        self.convs = nn.ModuleList()
        features = 3 * prod(size)
        if architecture != "fc2":
            self.convs.append(Convs(3, width, 5, 2, generators))
            self.convs.append(Convs(width, 2 * width, 5, 2, generators))
            features = 2 * width * prod(ceil(ceil(side / 2) / 2) for side in size)
        widths = [features, 1] if architecture == "cnn2_fc1" else [features, hidden, 1]
        self.linears = nn.ModuleList(Linears(a, b, generators) for a, b in zip(widths[:-1], widths[1:], strict=True))
        self.instances, self.size = len(generators), size

    @torch.no_grad()
    def start_at(self, scores: Tensor) -> None:
        """Sets the last bias so that the first answers are near these scores, (I,), in [0, 1]."""
        last = self.linears[-1]
        last.bias.copy_(scores.clamp(1e-6, 1 - 1e-6).logit()[:, None] / last.scale)

    def prepare(self, x: Tensor) -> Tensor:
        """Pictures or masks as `forward` takes them; they may be multiplied and added before or after."""
        return self.convs[0].blocks(x) if self.convs else x

    def weights(self, dtype: torch.dtype) -> list[Weights]:
        """Of every layer, as `forward` takes them: made once for all the calls between two steps."""
        return [layer.weights(dtype) for layer in [*self.convs, *self.linears]]

    def forward(self, *prepared: Tensor, weights: list[Weights] | None = None) -> Tensor:
        """Prepared inputs (b, I * 3, h, w), one batch after another -> scores (sum of b, I), in (0, 1)."""
        each = iter(weights or self.weights(prepared[0].dtype))
        if self.convs:
            first = next(each)
            # One by one: of inputs that need no gradient none is computed.
            x = F.relu(torch.cat([self.convs[0].blocked(part, self.size, first) for part in prepared]))
            for conv in self.convs[1:]:
                x = F.relu(conv(x, next(each)))
        else:
            x = torch.cat(prepared)
        x = x.permute(0, 2, 3, 1).reshape(len(x), -1, self.instances, x.shape[1] // self.instances)
        x = x.transpose(1, 2).flatten(2)
        for number, linear in enumerate(self.linears):
            x = linear(F.relu(x) if number else x, next(each))
        return x.squeeze(2).to(torch.promote_types(x.dtype, torch.float32)).sigmoid()


def apply_masks(x: Tensor, masks: Tensor) -> Tensor:
    """X (b, n * 3, h, w) times masks (b, n, h, w), each for all three colours."""
    # By a product with zeros and ones: in channels_last that is faster than to repeat.
    colours = torch.eye(masks.shape[1], dtype=x.dtype, device=x.device).repeat_interleave(3, dim=1)
    return x * (masks.permute(0, 2, 3, 1) @ colours).permute(0, 3, 1, 2)
