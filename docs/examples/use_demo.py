"""What the page of fex-demo shows, without a browser."""

import numpy as np
from PIL import Image

import fex
from fex.demo import Trial

pixels = np.random.default_rng(0).integers(0, 256, (48, 48, 3), dtype=np.uint8)  # your photograph
Image.fromarray(pixels).save("photo.png")

trial = Trial([fex.load_explainer("fex_vit_cifar10")], ["mine"], fex.load_black_box("vit_cifar10"))
found = trial("photo.png", ["cat", "dog"], top_k=1, queries=16)
for row, (picture, name) in zip(found.rows, found.pictures, strict=True):
    print(row)
    picture.save(f"{name}.png")
found.curve.savefig("curve.png")
