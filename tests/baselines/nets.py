"""Small networks as boxes with gradients."""

import timm
import torch
from torch import nn

import fex.black_box  # noqa: F401 registers conv_vit_tiny
from fex.black_box import TorchBlackBox
from fex.images import Preprocess

SIZE = 16


def cnn() -> nn.Module:
    """Two 3 x 3 convolutions to a 4 x 4 map of 6 channels, its mean, 4 logits."""
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, 2, 1),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Conv2d(6, 6, 3, 2, 1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(6, 4),
    )


def vit(**options: object) -> nn.Module:
    """A class token and 4 x 4 tokens, 4 logits that differ."""
    options = {"img_size": SIZE, "embed_dim": 16, "depth": 2, "num_heads": 2, "num_classes": 4, **options}
    net = timm.create_model("conv_vit_tiny", **options)
    nn.init.normal_(net.head.weight)
    return net


def box(net: nn.Module, **options: object) -> TorchBlackBox:
    options = {"num_classes": 4, "preprocess": Preprocess(SIZE, SIZE), "mean": (0.5, 0.4, 0.3), **options}
    return TorchBlackBox(net.eval(), **options)


def pictures(count: int = 3, size: int = SIZE) -> torch.Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(1))
