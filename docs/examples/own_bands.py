"""Images of four channels, such as red, green, blue and infrared: tensors instead of pictures."""

import timm
import torch

import fex
from fex.baselines import RISE
from fex.black_box import TorchBlackBox
from fex.images import PatchGrid, Preprocess

# 1 Your classifier, and your images: (n, channels, H, W), float, each channel scaled to [0, 1].
network = timm.create_model("resnet10t", in_chans=4, num_classes=2)
images = torch.rand(16, 4, 64, 64)

# 2 The black box: what fex may ask. `mean` and `std` have a value for each channel, as the network was trained with.
box = TorchBlackBox(
    network, channels=4, class_names=["field", "forest"], preprocess=Preprocess(64, 64),
    mean=[0.4, 0.4, 0.4, 0.6], std=[0.2, 0.2, 0.2, 0.3],
)  # fmt: skip

# 3 The explainer. It asks the classifier about masked images and learns which patches count.
explainer = fex.train(box, images, grid=4, max_steps=2, accelerator="cpu", enable_progress_bar=False)

# 4 Explanations: one pass each. Maps are drawn over the first three channels.
explanations = explainer.explain(images[:2], target="forest")
explanations.save("explained")
asked = fex.explain(images[:1], RISE(box, PatchGrid(4, 4), num_masks=20), target="forest")
print(explanations[0].grid.shape, asked[0].grid.shape, "questions in all:", box.queries)
