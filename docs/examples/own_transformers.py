"""An image classifier of transformers, from a folder or the hub."""

from pathlib import Path

import numpy as np
import torch
from lightning.pytorch import Trainer
from PIL import Image
from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

import fex
from datamodules import Folder
from fex.black_box import TransformersBlackBox
from fex.images import PatchGrid
from fex.nets import ExplainerNet, PyramidEncoder
from fex.policy import Antithetic, CompatibleControl, Retained, TwoSidedBudget
from lightning_modules import FEXModule


def make_photographs(folder: str, count: int = 20, size: int = 72) -> None:
    """Made-up pictures: a bright square somewhere on noise. Use a folder of your own photographs instead."""
    Path(folder).mkdir(exist_ok=True)
    draw = np.random.default_rng(0)
    for index in range(count):
        pixels = draw.integers(0, 100, (size, size, 3), dtype=np.uint8)
        top, left = draw.integers(0, size - 24, 2)
        pixels[top : top + 24, left : left + 24] = 230
        Image.fromarray(pixels).save(f"{folder}/{index}.png")


# 1 Your classifier.
config = ViTConfig(
    hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, image_size=64, patch_size=16,
    id2label={0: "cat", 1: "dog"}, label2id={"cat": 0, "dog": 1},
)  # fmt: skip
ViTForImageClassification(config).save_pretrained("mine")  # stands in for your folder
ViTImageProcessor(size={"height": 64, "width": 64}).save_pretrained("mine")

# 2 The black box: what fex may ask.
box = TransformersBlackBox("mine")  # class names, size and normalisation come from the folder
make_photographs("photographs")

# 3 The explainer. It asks the classifier about masked pictures and learns which patches count.
encoder = PyramidEncoder("resnet10t", levels=(-2, -1))  # pretrained=True starts from timm's weights
module = FEXModule(
    box,
    PatchGrid(4, 4),  # the picture is cut into 4 x 4 patches; 14 x 14 suits a ViT of 224 pixels, 7 x 7 a CNN
    ExplainerNet(encoder, value_degree=3),
    reward=Retained(),
    noise=Antithetic(),
    exploration=TwoSidedBudget(-3.0, 3.0),
    control=CompatibleControl(),
    num_masks=4,  # questions a picture and step
    entropy_weight=0.02,
    kl_weight=0.02,
    optimizer=lambda parameters: torch.optim.AdamW(parameters, 1e-3),
)
trainer = Trainer(max_steps=2, accelerator="cpu", logger=False, limit_val_batches=0, enable_progress_bar=False)
trainer.fit(module, datamodule=Folder("photographs", batch_size=4))  # some thousand steps for a real explainer
trainer.save_checkpoint("explainer.ckpt")

# 4 Explanations: one pass each. The classifier is not asked any more.
explainer = fex.load_explainer("explainer.ckpt")
explanations = explainer.explain(["photographs/0.png", "photographs/1.png"], top_k=2)
explanations.save("explained")  # explained/0.png ...
print(explanations[0].target_name, explanations[0].scores.shape, "questions in all:", box.queries)
