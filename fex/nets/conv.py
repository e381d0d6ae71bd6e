"""A convolutional encoder of a few operations, for explainers that cost a tenth of their black box."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from fex.nets.encoder import Encoder, EncoderOutput, to_grid

__all__ = ["ConvEncoder"]


class Standardised(nn.Module):
    """Weights of mean 0 and variance 1 / fan-in for each output, times a learnt gain (Brock et al. 2021, eq. 1).

    In place of batch norms, whose statistics would make a row's answer depend on its batch: nothing is left of it once
    the weights are computed.

    Args:
        outputs: channels.
    """

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(outputs, 1, 1, 1))

    def forward(self, weight: Tensor) -> Tensor:
        """(D, d, h, w) -> (D, d, h, w)."""
        variance, mean = torch.var_mean(weight, dim=(1, 2, 3), keepdim=True, correction=0)
        return (weight - mean) * (variance * weight[0].numel() + 1e-4).rsqrt() * self.gain


def _conv(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    conv = nn.Conv2d(inputs, outputs, 3, stride, 1)
    nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
    parametrize.register_parametrization(conv, "weight", Standardised(outputs))
    return conv


class _Block(nn.Module):
    """x + scale conv(relu(conv(x)) + what the whole picture says), then a ReLU."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.last = _conv(width, width), _conv(width, width)
        self.whole = nn.Linear(width, width)
        self.scale = nn.Parameter(torch.tensor(0.2))  # blocks begin near the identity
        nn.init.zeros_(self.whole.weight)
        nn.init.zeros_(self.whole.bias)

    def forward(self, x: Tensor) -> Tensor:
        inner = F.relu(self.first(x))
        inner = inner + self.whole(inner.mean((2, 3)))[:, :, None, None]
        return F.relu(x + self.scale * self.last(inner))


class ConvEncoder(Encoder):
    """3 x 3 convolutions, each of the first halving the sides, then residual blocks; untrained.

    Made for `lightning_modules.DistilModule`: small, without batch statistics, and on loading its standardised weights
    become plain ones. The maps should end near the grid of the features: 32 pixels and two widths give 8 x 8.

    Args:
        widths: channels after each halving; the last is D.
        blocks: residual blocks of two convolutions behind them.
        mean: normalisation of the inputs.
        std: normalisation of the inputs.

    Raises:
        ValueError: no widths, or numbers below 1.
    """

    def __init__(
        self,
        widths: Sequence[int] = (24, 48),
        blocks: int = 2,
        *,
        mean: tuple[float, float, float] = (0.485, 0.456, 0.406),
        std: tuple[float, float, float] = (0.229, 0.224, 0.225),
    ) -> None:
        widths = list(widths)
        if not widths or min(*widths, 1) < 1 or blocks < 0:
            raise ValueError(f"ConvEncoder needs widths of at least 1 and blocks >= 0, got {widths} and {blocks}.")
        init_args = {"widths": widths, "blocks": blocks, "mean": list(mean), "std": list(std)}
        super().__init__(widths[-1], tuple(mean), tuple(std), init_args, frozen=False)
        steps = zip([3, *widths[:-1]], widths, strict=True)
        self.stem = nn.Sequential(*(layer for sides in steps for layer in (_conv(*sides, stride=2), nn.ReLU())))
        self.blocks = nn.Sequential(*(_Block(self.dim) for _ in range(blocks)))
        self.eval()

    def merge(self) -> None:
        """Makes plain weights of the standardised ones: the same answers, a graph of convolutions alone."""
        for part in self.modules():
            if isinstance(part, nn.Conv2d) and parametrize.is_parametrized(part):
                parametrize.remove_parametrizations(part, "weight")

    def encode(self, inputs: Tensor, grid: tuple[int, int]) -> EncoderOutput:
        """See `Encoder`; pooled is the mean of the last map."""
        maps = self.blocks(self.stem(inputs.contiguous(memory_format=torch.channels_last)))
        return EncoderOutput(to_grid(maps, grid).flatten(2).transpose(1, 2), maps.mean((2, 3)))
