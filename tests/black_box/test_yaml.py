"""Every kind of black box from the YAML that a user writes."""

import pytest
import timm
import torch
import yaml
from jsonargparse import ArgumentParser
from torch import nn
from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

from fex.black_box import BlackBox
from fex.images import Preprocess
from tests.toys import instantiate

YAML = {
    "timm": """
class_path: fex.black_box.TimmBlackBox
init_args:
  model: conv_vit_tiny
  weights: FOLDER/net.pth
  model_args: {depth: 1, num_classes: 3}
  class_names: [a, b, c]
  precision: bf16
  channels_last: true
""",
    "transformers": """
class_path: fex.black_box.TransformersBlackBox
init_args:
  model: FOLDER/vit
  mean: [0.1, 0.2, 0.3]
""",
    "onnx": """
class_path: fex.black_box.OnnxBlackBox
init_args:
  path: FOLDER/net.onnx
  outputs: logits
  threads: 1
""",
    "http": """
class_path: fex.black_box.HttpBlackBox
init_args:
  url: https://example.org/classify
  class_names: [a, b, c]
  token_env: CLASSIFIER_TOKEN
  headers: {X-Team: vision}
  rate: 10
  preprocess: {height: 32, width: 32}
""",
    "callable": """
class_path: fex.black_box.CallableBlackBox
init_args:
  function: tests.black_box.functions:brightness
  num_classes: 2
  preprocess: {height: 32, width: 32}
""",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("boxes")
    torch.save(timm.create_model("conv_vit_tiny", depth=1, num_classes=3).state_dict(), root / "net.pth")
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    ViTForImageClassification(ViTConfig(**small, image_size=32, patch_size=8)).save_pretrained(root / "vit")
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(root / "vit")
    net = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    torch.onnx.export(net, (torch.zeros(2, 3, 32, 32),), str(root / "net.onnx"), dynamo=True, verbose=False)
    return root


@pytest.mark.parametrize("kind", YAML)
def test_box_from_yaml(kind, folder):
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--black_box", type=BlackBox)
    config = parser.parse_object({"black_box": yaml.safe_load(YAML[kind].replace("FOLDER", str(folder)))})
    box = instantiate(parser, config).black_box
    assert isinstance(box, BlackBox)
    assert type(box).__name__.lower() == f"{kind}blackbox"
    assert isinstance(box.preprocess, Preprocess)
    assert box.preprocess.size == (32, 32)
    if kind != "http":
        assert box(torch.rand(2, 3, 32, 32)).shape == (2, box.num_classes)
