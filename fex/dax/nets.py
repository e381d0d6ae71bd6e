"""The mask and student networks of several instances at once: one group of channels each, so kernels stay large.

They compute in the type of their inputs, whatever that of their weights; masks and scores are float32 (or float64).
"""

from math import ceil, prod, sqrt
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["Architecture", "MaskNets", "StudentNets", "apply_masks"]

Architecture = Literal["cnn2_fc1", "fc2", "cnn2_fc2"]
Weights = tuple[Tensor, Tensor]  # of one layer, as its kernel takes them, and its bias


def _uniform(shape: tuple[int, ...], generators: list[torch.Generator]) -> nn.Parameter:
    """(I, *shape), each instance's part drawn from its own generator, U(-1, 1).

    Layers divide their weights by sqrt(fan_in), so they start as torch's do. The factor is not in the parameter, or a
    step of Adam, which is as large for every weight, would move the sum over a layer's inputs by fan_in times itself:
    one step then drove the sigmoids of some instances to 0 or 1, where they stayed.
    """
    parts = [torch.rand(shape, generator=generator) for generator in generators]
    return nn.Parameter(2 * torch.stack(parts) - 1)


def _blocks(x: Tensor, factor: int, groups: int) -> Tensor:
    """(b, I * C, h f, w f) -> (b, I * f^2 * C, h, w), channels_last: a block of pixels becomes one of more channels.

    In this order of the channels whole rows of a block are copied at once.
    """
    b, channels, height, width = x.shape
    h, w, c = height // factor, width // factor, channels // groups
    rows = x.permute(0, 2, 3, 1).reshape(b, h, factor, w, factor, groups, c)
    return rows.permute(0, 1, 3, 5, 2, 4, 6).reshape(b, h, w, -1).permute(0, 3, 1, 2)


class _Convs(nn.Module):
    """I convolutions of one shape side by side: (b, I * C, h, w) -> (b, I * D, h', w').

    Few channels and large kernels are slow, so it is computed on blocks of pixels as channels: a convolution of stride
    s, in blocks of o x o outputs, is one of stride 1 with f^2 = (s o)^2 times the channels, o^2 times the outputs and
    a kernel f times smaller. ``conv(x)`` is ``conv.blocked(conv.blocks(x), size)``.

    Args:
        channels: C.
        width: D.
        kernel: odd side of the kernels.
        stride: of the convolution.
        generators: one an instance, for its initial weights.
        block: o.
    """

    def __init__(
        self,
        channels: int,
        width: int,
        kernel: int,
        stride: int,
        generators: list[torch.Generator],
        *,
        block: int = 1,
    ) -> None:
        super().__init__()
        self.scale = 1 / sqrt(channels * kernel * kernel)
        self.weight = _uniform((width, channels, kernel, kernel), generators)
        self.bias = _uniform((width,), generators)
        self.kernel, self.stride, self.block, self.factor = kernel, stride, block, stride * block
        self.side = ceil((kernel + stride * (block - 1)) / self.factor)  # of the kernel on blocks
        self.register_buffer("places", self._places(), persistent=False)

    def _places(self) -> Tensor:
        """(k^2, o^2 f^2 K^2), 0 or 1: where each weight of a kernel goes, for each of a block's outputs."""
        side, factor = self.side, self.factor
        one_each = torch.eye(self.kernel**2).view(-1, self.kernel, self.kernel)
        free = side * factor - self.kernel
        starts = range(0, factor, self.stride)
        placed = torch.stack(
            [F.pad(one_each, [left, free - left, top, free - top]) for top in starts for left in starts], 1
        )
        split = placed.view(*placed.shape[:2], side, factor, side, factor).permute(0, 1, 3, 5, 2, 4)
        return split.reshape(len(placed), -1)

    def weights(self, dtype: torch.dtype) -> Weights:
        """The kernel on blocks, (I * D * o^2, f^2 * C, K, K), and its bias."""
        outputs, factors = self.block**2, self.factor**2
        placed = (self.scale * self.weight).flatten(0, 1).flatten(2) @ self.places
        split = placed.unflatten(2, (outputs, factors, self.side, self.side)).permute(0, 2, 3, 1, 4, 5)
        weight = split.reshape(len(placed) * outputs, -1, self.side, self.side)
        bias = (self.scale * self.bias).flatten()[:, None].expand(-1, outputs).flatten()
        return weight.to(dtype, memory_format=torch.channels_last), bias.to(dtype)

    def output_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """(h', w') of inputs of (h, w)."""
        return (size[0] - 1) // self.stride + 1, (size[1] - 1) // self.stride + 1

    def blocks(self, x: Tensor) -> Tensor:
        """Inputs (b, I * c, h, w) as the convolution takes them, (b, I * f^2 * c, ...), whatever c is.

        Replicated, not zero, at the border: an edge of zeros is one that the picture does not have.
        """
        # As many blocks as the outputs need; what the last ones see beyond the border is cut off.
        height, width = (
            self.factor * (ceil(side / self.block) + self.side - 1) for side in self.output_size(x.shape[-2:])
        )
        before = self.kernel // 2
        right, below = width - before - x.shape[3], height - before - x.shape[2]
        # The padding itself is faster on this layout.
        x = x.contiguous(memory_format=torch.channels_last)
        return _blocks(F.pad(x, [before, right, before, below], mode="replicate"), self.factor, len(self.weight))

    def blocked(self, blocks: Tensor, size: tuple[int, int], weights: Weights | None = None) -> Tensor:
        """(b, I * D, h', w') from the `blocks` of inputs of (h, w)."""
        weight, bias = weights or self.weights(blocks.dtype)
        y = F.conv2d(blocks, weight, bias, groups=len(self.weight))
        if self.block > 1:
            y = F.pixel_shuffle(y, self.block)
        height, width = self.output_size(size)
        return y[..., :height, :width]

    def forward(self, x: Tensor, weights: Weights | None = None) -> Tensor:
        return self.blocked(self.blocks(x), (x.shape[-2], x.shape[-1]), weights)


class _Linears(nn.Module):
    """I linear layers side by side: (b, I, D) -> (b, I, E)."""

    def __init__(self, inputs: int, outputs: int, generators: list[torch.Generator]) -> None:
        super().__init__()
        self.scale = 1 / sqrt(inputs)
        self.weight = _uniform((inputs, outputs), generators)
        self.bias = _uniform((outputs,), generators)

    def weights(self, dtype: torch.dtype) -> Weights:
        return (self.scale * self.weight).to(dtype), (self.scale * self.bias)[:, None].to(dtype)

    def forward(self, x: Tensor, weights: Weights) -> Tensor:
        weight, bias = weights
        return torch.baddbmm(bias, x.transpose(0, 1), weight).transpose(0, 1)


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
        self.first = _Convs(3, width, kernel, stride, generators)
        self.second = _Convs(width, 1, kernel, 1, generators, block=2)
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
            self.convs.append(_Convs(3, width, 5, 2, generators))
            self.convs.append(_Convs(width, 2 * width, 5, 2, generators))
            features = 2 * width * prod(ceil(ceil(side / 2) / 2) for side in size)
        widths = [features, 1] if architecture == "cnn2_fc1" else [features, hidden, 1]
        self.linears = nn.ModuleList(_Linears(a, b, generators) for a, b in zip(widths[:-1], widths[1:], strict=True))
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
