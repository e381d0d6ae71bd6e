"""A ViT of timm with weights of your own: the explainer starts from the same weights."""

from pathlib import Path

import numpy as np
import timm
import torch
from lightning.pytorch import Trainer
from PIL import Image

import fex
from datamodules import Folder
from fex.black_box import TimmBlackBox
from fex.images import PatchGrid
from fex.nets import ExplainerNet, ViTEncoder
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
shape = {"img_size": 64, "embed_dim": 16, "depth": 2, "num_heads": 2, "num_classes": 2}  # a real one needs none of it
torch.save(timm.create_model("vit_tiny_patch16_224", **shape).state_dict(), "mine.pth")  # stands in for your file

# 2 The black box: what fex may ask.
box = TimmBlackBox("vit_tiny_patch16_224", weights="mine.pth", model_args=shape, class_names=["cat", "dog"])
make_photographs("photographs")

# 3 The explainer. It asks the classifier about masked pictures and learns which patches count.
encoder = ViTEncoder("vit_tiny_patch16_224", weights="mine.pth", model_args=shape)
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
