"""Networks: explainers and the small vision transformer."""

from fex.nets.conv_vit import conv_vit_tiny

__all__ = ["conv_vit_tiny"]
