"""The mask and student networks of several instances at once: one group of channels each, so kernels stay large."""

from math import ceil, prod, sqrt
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["Architecture", "MaskNets", "StudentNets"]

Architecture = Literal["cnn2_fc1", "fc2", "cnn2_fc2"]


def _uniform(shape: tuple[int, ...], fan_in: int, generators: list[torch.Generator]) -> nn.Parameter:
    """(I, *shape), each instance's part drawn from its own generator, U(-1, 1) / sqrt(fan_in): torch's default."""
    parts = [torch.rand(shape, generator=generator) for generator in generators]
    return nn.Parameter((2 * torch.stack(parts) - 1) / sqrt(fan_in))


class _Convs(nn.Module):
    """I convolutions of one shape side by side: (b, I * C, h, w) -> (b, I * D, h', w')."""

    def __init__(self, channels: int, width: int, kernel: int, stride: int, generators: list[torch.Generator]) -> None:
        super().__init__()
        fan_in = channels * kernel * kernel
        self.weight = _uniform((width, channels, kernel, kernel), fan_in, generators)
        self.bias = _uniform((width,), fan_in, generators)
        self.kernel, self.stride = kernel, stride

    def forward(self, x: Tensor) -> Tensor:
        # Replicated, not zero: a border of zeros is an edge that the picture does not have.
        x = F.pad(x, [self.kernel // 2] * 4, mode="replicate")
        return F.conv2d(x, self.weight.flatten(0, 1), self.bias.flatten(), self.stride, groups=len(self.weight))


class _Linears(nn.Module):
    """I linear layers side by side: (b, I, D) -> (b, I, E)."""

    def __init__(self, inputs: int, outputs: int, generators: list[torch.Generator]) -> None:
        super().__init__()
        self.weight = _uniform((inputs, outputs), inputs, generators)
        self.bias = _uniform((outputs,), inputs, generators)

    def forward(self, x: Tensor) -> Tensor:
        return torch.baddbmm(self.bias[:, None], x.transpose(0, 1), self.weight).transpose(0, 1)


class MaskNets(nn.Module):
    """f_M: two convolutions and a sigmoid, one mask for all colours.

    Args:
        generators: one an instance, for its initial weights.
        width: hidden channels.
        kernel: odd side of both kernels, in working pixels.
        stride: of the first convolution; the mask is brought back to the input's size bilinearly.
    """

    def __init__(self, generators: list[torch.Generator], *, width: int = 32, kernel: int = 7, stride: int = 1) -> None:
        super().__init__()
        if width < 1 or stride < 1 or kernel < 1 or kernel % 2 == 0:
            raise ValueError(
                f"Mask nets need width >= 1, stride >= 1 and an odd kernel, got {width}, {stride} and {kernel}."
            )
        self.first = _Convs(3, width, kernel, stride, generators)
        self.second = _Convs(width, 1, kernel, 1, generators)

    def forward(self, x: Tensor) -> Tensor:
        """Inputs (b, I * 3, h, w) -> masks (b, I, h, w), in (0, 1)."""
        logits = self.second(F.relu(self.first(x)))
        if logits.shape[-2:] != x.shape[-2:]:
            logits = F.interpolate(logits, size=x.shape[-2:], mode="bilinear", align_corners=False)
        return logits.float().sigmoid() if logits.dtype is torch.bfloat16 else logits.sigmoid()


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
        self.instances = len(generators)

    def forward(self, x: Tensor) -> Tensor:
        """Inputs (b, I * 3, h, w) -> scores (b, I), in (0, 1)."""
        for conv in self.convs:
            x = F.relu(conv(x))
        x = x.reshape(len(x), self.instances, -1)
        for number, linear in enumerate(self.linears):
            x = linear(F.relu(x) if number else x)
        x = x.squeeze(2)
        return x.float().sigmoid() if x.dtype is torch.bfloat16 else x.sigmoid()
