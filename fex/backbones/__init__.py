"""Backbones: timm networks and the small vision transformer of this project."""

from fex.backbones.conv_vit import ConvStem, conv_vit_tiny
from fex.backbones.timm import build_timm, in_order, read_timm_weights

__all__ = ["ConvStem", "build_timm", "conv_vit_tiny", "in_order", "read_timm_weights"]
