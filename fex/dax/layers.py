"""Layers of many small networks at once: convolutions and linear maps, one an instance."""

from math import ceil, sqrt

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["Weights", "Convs", "Linears"]


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


class Convs(nn.Module):
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


class Linears(nn.Module):
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
