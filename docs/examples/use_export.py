"""A trained explainer as one ONNX file, run by onnxruntime alone. It needs: pip install 'fex-explain[export]'."""

import json

import numpy as np
import onnxruntime
from PIL import Image

import fex
from fex.export import export

# 1 Written once, where fex is. The file is compared with the network before this returns.
explainer = fex.load_explainer("fex_vit_cifar10")  # or your own: "runs/mine"
export(explainer, "explainer.onnx")

# 2 Read anywhere: no torch, no fex. All that is needed stands in the file.
session = onnxruntime.InferenceSession("explainer.onnx")
about = {key: json.loads(text) for key, text in session.get_modelmeta().custom_metadata_map.items() if key != "format"}
names, grid, size = about["class_names"], about["grid"], about["preprocess"]

picture = np.random.default_rng(0).integers(0, 256, (2, size["height"], size["width"], 3), dtype=np.uint8)  # yours
inputs = picture.transpose(0, 3, 1, 2).astype(np.float32) / 255  # (B, 3, H, W), RGB in [0, 1], not normalised
target = np.array([[-1, -2, names.index("cat")]] * len(inputs))  # the likeliest class, the next one, and the cat
scores, classes, probabilities = session.run(None, {"inputs": inputs, "target": target})
print(names[classes[0, 0]], "has the map", scores[0, 0].reshape(grid).round(2).tolist()[0], "...")

# 3 The same file explains as the explainer does.
Image.fromarray(picture[0]).save("photo.png")
again = fex.load_explainer("explainer.onnx").explain("photo.png", target="cat")[0]
assert np.allclose(again.scores, explainer.explain("photo.png", target="cat")[0].scores, atol=1e-5)
again.save("explained.png")
