"""A file of OpenVINO and one of torch.export. It needs the extra: pip install 'fex-explain[openvino]'."""

import openvino
import timm
import torch

import fex
from fex.baselines import RISE
from fex.black_box import ExportedBlackBox, OpenvinoBlackBox
from fex.images import PatchGrid

# 1 Your classifier, as its files.
network, pixels = timm.create_model("test_resnet", num_classes=3).eval(), torch.zeros(2, 3, 64, 64)
openvino.save_model(openvino.convert_model(network, example_input=pixels, input=[(-1, 3, 64, 64)]), "mine.xml")
sizes = ({0: torch.export.Dim("batch", min=1)},)
torch.export.save(torch.export.export(network, (pixels,), dynamic_shapes=sizes), "mine.pt2")

# 2 The black boxes: what fex may ask. A .pt2 may run code as it is read: `trust` says that you know who made it.
names = ["cat", "dog", "owl"]
box = OpenvinoBlackBox("mine.xml", outputs="logits", class_names=names)  # mine.bin lies beside it
same = ExportedBlackBox("mine.pt2", outputs="logits", class_names=names, trust=True)

# 3 They are used like any box: fex-train --init my.yaml --black-box mine.xml --data photographs/, or
images = torch.rand(2, 3, 64, 64)
explanations = fex.explain(images, RISE(box, PatchGrid(4, 4), num_masks=20), target="dog")
explanations[0].save("explained.png")
print("differ by", float((box(images) - same(images)).abs().max()))
