"""Backbones: timm networks, the small vision transformer of this project, and the recurrent net of sounds.

A name becomes a network, with weights from a file if there are any; nothing is known of explaining here.
Read `timm`, `conv_vit`, `mel_blstm`.
"""

from fex.nets.backbones.conv_vit import ConvStem, conv_vit_tiny
from fex.nets.backbones.timm import build_timm, in_order, read_timm_weights

__all__ = ["ConvStem", "build_timm", "conv_vit_tiny", "in_order", "read_timm_weights"]
