"""The networks' convolutions, computed in blocks, against torch's on the padded input."""

import pytest
import torch
from torch.nn import functional as F

from fex.dax.layers import Convs
from fex.dax.nets import MaskNets


@pytest.mark.parametrize("size", [(8, 8), (7, 9), (5, 4)])
@pytest.mark.parametrize("block", [1, 2])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [1, 3, 5, 7])
def test_blocks_are_the_convolution(kernel, stride, block, size):
    generators = [torch.Generator().manual_seed(seed) for seed in (0, 1)]
    convs = Convs(3, 4, kernel, stride, generators, block=block).double()
    x = torch.rand(2, 6, *size, dtype=torch.float64, requires_grad=True)

    padded = F.pad(x, [kernel // 2] * 4, mode="replicate")
    weight, bias = convs.scale * convs.weight.flatten(0, 1), convs.scale * convs.bias.flatten()
    expected = F.conv2d(padded, weight, bias, stride, groups=2)
    found = convs(x)
    torch.testing.assert_close(found, expected)

    factors = torch.rand_like(expected)
    leaves = (x, convs.weight, convs.bias)
    gradients = [torch.autograd.grad((y * factors).sum(), leaves) for y in (found, expected)]
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("size", [(8, 8), (7, 13)])
def test_masks_of_a_strided_network_are_bilinear(size):
    nets = MaskNets([torch.Generator().manual_seed(0), torch.Generator().manual_seed(1)], size, width=4, stride=2)
    x = torch.rand(3, 6, *size)
    coarse = nets.second(F.relu(nets.first(x)))
    assert coarse.shape[-2:] == ((size[0] + 1) // 2, (size[1] + 1) // 2)
    expected = F.interpolate(coarse, size=size, mode="bilinear", align_corners=False).sigmoid()
    torch.testing.assert_close(nets(nets.prepare(x)), expected)
