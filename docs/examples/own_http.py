"""A classifier behind an address: it is only asked over HTTP. own_server.py is the other side."""

import threading
from pathlib import Path

import numpy as np
import torch
from lightning.pytorch import Trainer
from own_server import make_server
from PIL import Image

import fex
from datamodules import Folder
from fex.black_box import HttpBlackBox
from fex.images import PatchGrid, Preprocess
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
server = make_server(port=0)  # stands in for your service, in a thread of this program
threading.Thread(target=server.serve_forever, daemon=True).start()
address = f"http://127.0.0.1:{server.server_port}/score"

# 2 The black box: what fex may ask.
box = HttpBlackBox(address, class_names=["dark", "bright"], preprocess=Preprocess(64, 64))
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
server.shutdown()
