"""Encoder and black box must take inputs of one size."""

import pytest

from fex.images import PatchGrid
from fex.nets import ExplainerNet, ViTEncoder
from lightning_modules import FEXModule
from tests.lightning_modules.small import VIT, SmoothBox


def test_another_size_is_refused_by_both_names():
    net = ExplainerNet(ViTEncoder("conv_vit_tiny", model_args={**VIT, "img_size": 64}))
    with pytest.raises(ValueError, match=r"encoder takes 64 x 64 .* black box 'SmoothBox' 32 x 32.*img_size: 32"):
        FEXModule(SmoothBox(), PatchGrid(4, 4), net)
