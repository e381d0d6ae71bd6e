"""The catalogue's YAML lines do what they say: each is parsed out of it, built and used on made-up data."""

import re
import warnings
from pathlib import Path

import onnx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import timm
import torch
import yaml
from jsonargparse import ArgumentParser
from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_tensor_value_info
from torch.utils.data import DataLoader
from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

from fex.black_box import BlackBox, HttpBlackBox
from fex.cli.train.train import run
from fex.images import PatchGrid
from fex.nets import ExplainerNet, ViTEncoder
from lightning_modules import FEXModule
from tests.black_box.test_graph_files import Net, write
from tests.black_box.test_zero_shot import folder as clip_folder
from tests.datamodules.pictures import encode
from tests.lightning_modules.small import trainer
from tests.shrink import load, shrink, written
from tests.toys import instantiate

PAGE = (Path(__file__).parents[2] / "docs" / "models" / "index.md").read_text(encoding="utf-8")
LINES = [
    line.split("#")[0].strip()
    for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    for line in block.splitlines()
    if line.startswith("{class_path")
]
# Those of texts are tested in tests/texts.
BOXES = [line for line in LINES if "fex.black_box" in line and "black_box.Text" not in line]
DATA = [line for line in LINES if "datamodules" in line and "datamodules.Texts" not in line]
# What only the user has, and what is made here in its place.
MADE = {
    "resnet50, pretrained: true": "resnet10t, weights: hub.pth",
    "resnet50": "resnet10t",
    "path/or/hub-id": "vit",
    "package.module:function": f"{__name__}:ten",
    "user/dataset": "pictures",
}


def ten(inputs):
    """Probabilities of ten classes."""
    return inputs.mean((2, 3)).repeat(1, 4)[:, :10].softmax(1)


def made(line):
    line = line.replace("path/or/hub-id", "clip") if "ZeroShot" in line else line
    for theirs, ours in MADE.items():
        line = line.replace(theirs, ours)
    return yaml.safe_load(line)


def test_the_catalogue_has_an_example_of_each_kind():
    assert {box.split(",")[0].split(".")[-1] for box in BOXES} == {
        "TimmBlackBox", "TransformersBlackBox", "ZeroShotBlackBox", "OnnxBlackBox", "OpenvinoBlackBox",
        "ExportedBlackBox", "HttpBlackBox", "CallableBlackBox"}  # fmt: skip
    assert {data.split(",")[0].split(".")[-1] for data in DATA} == {"Folder", "Hub", "Parquet"}


def _pooled():
    """The mean of each channel as the logits of three classes, for inputs (N, 3, 32, 32)."""
    nodes = [make_node("GlobalAveragePool", ["x"], ["mean"]), make_node("Flatten", ["mean"], ["y"])]
    x = make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["N", 3, 32, 32])
    y = make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["N", 3])
    return make_model(make_graph(nodes, "pooled", [x], [y]), opset_imports=[make_opsetid("", 17)], ir_version=8)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """What the lines name, in one folder."""
    root = tmp_path_factory.mktemp("home")
    torch.save(timm.create_model("resnet10t").state_dict(), root / "hub.pth")
    torch.save(timm.create_model("resnet10t", num_classes=2).state_dict(), root / "mine.pth")
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    ViTForImageClassification(ViTConfig(**small, image_size=32, patch_size=8)).save_pretrained(root / "vit")
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(root / "vit")
    onnx.save(_pooled(), root / "model.onnx")
    for suffix in (".xml", ".pt2"):
        write(Net(), root / f"model{suffix}", (2, 3, 32, 32))
    clip_folder(root / "clip")
    for folder in ("photos", "pictures"):
        (root / folder).mkdir()
        for index in range(20):
            (root / folder / f"{index}.png").write_bytes(encode((70, 66), colour=(10 * index, 90, 30)))
    (root / "pictures" / "metadata.csv").write_text(
        "file_name,label\n" + "\n".join(f"{index}.png,{index % 2}" for index in range(20))
    )
    (root / "data").mkdir()
    for split in ("train", "test"):
        images = [{"bytes": encode((70, 66), colour=(10 * index, 90, 30))} for index in range(20)]
        pq.write_table(pa.table({"image": images, "label": [0, 1] * 10}), root / "data" / f"{split}-0.parquet")
    return root


@pytest.mark.parametrize("line", BOXES, ids=lambda line: line.split(",")[0].split(".")[-1])
def test_a_black_box_trains_an_explainer_one_step(line, home, monkeypatch):
    monkeypatch.chdir(home)
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--black_box", type=BlackBox)
    box = instantiate(parser, parser.parse_object({"black_box": made(line)})).black_box
    if isinstance(box, HttpBlackBox):  # tests/black_box/test_http.py asks a server
        assert (box.num_classes, box.preprocess.size) == (10, (32, 32))
        return
    size = box.preprocess.size[0]
    vit = {"img_size": size, "patch_size": size // 8, "embed_dim": 16, "depth": 1, "num_heads": 2}
    net = ExplainerNet(ViTEncoder("vit_tiny_patch16_224", model_args=vit), hidden=8)
    module = FEXModule(box, PatchGrid(2, 2), net, num_masks=2)
    batch = {"inputs": torch.rand(2, 3, size, size), "valid": torch.ones(2, dtype=torch.bool)}
    fit = trainer(max_steps=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit.fit(module, DataLoader([batch], batch_size=None))
    assert fit.global_step == 1
    assert box.queries >= 2 + 2 * 2  # the pictures and their masks


@pytest.mark.parametrize("line", DATA, ids=lambda line: line.split(",")[0].split(".")[-1])
def test_data_trains_an_explainer_one_step(line, home, tmp_path, monkeypatch):
    monkeypatch.chdir(home)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))
    config = shrink(load("quickstart"), tmp_path)
    config["trainer"] |= {"max_steps": 1, "limit_val_batches": 1, "callbacks": [], "logger": False}
    config["trainer"] |= {"enable_checkpointing": False, "enable_model_summary": False}
    config["data"] = made(line)
    config["data"]["init_args"]["batch_size"] = 2
    cli = run(["--config", written(config, tmp_path / "mine.yaml")])
    assert cli.trainer.global_step == 1
    assert cli.datamodule.skipped == {} or set(cli.datamodule.skipped.values()) == {0}
