"""The packaged configs at a size for tests: generated data and weights, two batches, everything in one folder."""

import io
import json
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
import yaml
from PIL import Image

from fex.images import Preprocess
from fex.nets.backbones import build_timm
from fex.storage.resources import resource_dir
from fex.storage.weights import save_black_box
from fex.texts.backbone import load_text_net, save_text_black_box
from tests.datamodules.sounds import coswara_folder, esc10_folder
from tests.texts.tiny import sentences, text_folder

RUNS = sorted(path.stem for path in resource_dir("configs").glob("*.yaml") if "benchmark" not in path.stem)
INSTANCES = [name for name in RUNS if name.startswith(("dax_", "iassa_"))]  # no epochs, no checkpoints
TRAINING = [name for name in RUNS if name not in INSTANCES]
SMALL = {"embed_dim": 32, "depth": 1, "num_heads": 2}
# What the boxes of the configs are: shipped weights that a test does not need are stood in for by small ones.
BOXES = {
    "vit_cifar10": ("conv_vit_tiny", {"img_size": 32, "num_classes": 10, **SMALL}),
    "vit_scenes": ("conv_vit_tiny", {"img_size": 64, "patch_size": 8, "num_classes": 8, **SMALL}),
    "vit_base_patch16_224": ("vit_base_patch16_224", {"num_classes": 1000, **SMALL}),
    "vit_tiny_patch16_224": ("vit_tiny_patch16_224", {"num_classes": 1000, **SMALL}),
}


def load(name: str) -> dict[str, Any]:
    """A packaged config as data."""
    return yaml.safe_load((resource_dir("configs") / f"{name}.yaml").read_text())


def box_weights(name: str, folder: Path) -> Path:
    """Untrained weights that stand in for the box `name`."""
    path = folder / f"{name}.safetensors"
    if not path.exists():
        model, arguments = BOXES[name]
        torch.manual_seed(0)
        net = build_timm(model, arguments)
        size = arguments.get("img_size", 224)
        meta = {
            "model": model, "model_args": arguments, "preprocess": Preprocess(size, size).to_dict(),
            "class_names": [str(index) for index in range(net.num_classes)], "mean": [0.5] * 3, "std": [0.25] * 3,
        }  # fmt: skip
        save_black_box(path, net, meta)
    return path


def _picture(index: int, size: int) -> Image.Image:
    generator = torch.Generator().manual_seed(index)
    return Image.fromarray(torch.randint(0, 256, (size, size, 3), generator=generator, dtype=torch.uint8).numpy())


def cifar_folder(folder: Path) -> Path:
    """train.parquet and test.parquet of 24 and 8 generated pictures."""
    root = folder / "cifar"
    root.mkdir(exist_ok=True)
    for split, count in (("train", 24), ("test", 8)):
        rows = []
        for index in range(count):
            file = io.BytesIO()
            _picture(index, 32).save(file, "PNG")
            rows.append({"bytes": file.getvalue()})
        pq.write_table(
            pa.table({"image": rows, "label": [index % 10 for index in range(count)]}), root / f"{split}.parquet"
        )
    return root


def imagenet_folder(folder: Path) -> Path:
    """Two wnids of twelve generated pictures each."""
    root = folder / "imagenet"
    for wnid in ("n01440764", "n02102040"):
        (root / wnid).mkdir(parents=True, exist_ok=True)
        for index in range(12):
            _picture(index, 48).save(root / wnid / f"{index}.png")
    return root


TEXT_MODELS = ("minilm", "minilm_sst2", "textattack/bert-base-uncased-SST-2")


def text_model(name: str, folder: Path) -> str:
    """A small untrained text classifier that stands in for `name`: a folder, or weights of this project."""
    base = folder / "text"
    if not base.exists():
        text_folder(base)
    if name != "minilm_sst2":
        return str(base)
    path = folder / "minilm_sst2.safetensors"
    if not path.exists():
        net = load_text_net(str(base), classifier=True).net.requires_grad_()
        meta = {"base": str(base), "lora_rank": 0, "class_names": ["negative", "positive"], "max_length": 64}
        save_text_black_box(path, net, meta)
    return str(path)


def sst2_folder(folder: Path) -> Path:
    """train.tsv, dev.tsv and test.tsv of 16 generated sentences each."""
    root = folder / "sst2"
    root.mkdir(exist_ok=True)
    for seed, name in enumerate(("train", "dev", "test")):
        rows = [f"{text}\t{int('gem' in text)}" for text in sentences(16, seed)]
        (root / f"{name}.tsv").write_text("\n".join(["sentence\tlabel", *rows]))
    return root


def reviews_folder(folder: Path) -> Path:
    """train.jsonl, val.jsonl and test.jsonl of 16 generated reviews each."""
    root = folder / "reviews"
    root.mkdir(exist_ok=True)
    for seed, name in enumerate(("train", "val", "test")):
        rows = [{"text": text, "label": 1, "rationale_spans": [[0, 2]]} for text in sentences(16, seed)]
        (root / f"{name}.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    return root


@cache
def _data(kind: str, folder: Path) -> dict[str, Any]:
    if kind == "datamodules.Scenes":
        return {"num_train": 24, "num_val": 8, "num_test": 8}
    if kind == "datamodules.SST2":
        return {"root": str(sst2_folder(folder))}
    if kind == "datamodules.MovieReviews":
        return {"root": str(reviews_folder(folder))}
    if kind == "datamodules.ESC10":
        names = load("sound_esc10")["model"]["init_args"]["class_names"]
        return {"root": str(esc10_folder(folder / "esc10", len(names), names)), "num_workers": 0}
    if kind == "datamodules.SoundFolder":
        root = coswara_folder(folder / "clips", ("train", "train", "val", "test"), repeats=6)
        return {"root": str(root), "num_workers": 0}
    if kind == "datamodules.Folder":
        return {"root": str(imagenet_folder(folder)), "num_workers": 0, "val_fraction": 0.2, "test_fraction": 0.2}
    if kind == "datamodules.CIFAR10":
        return {"root": str(cifar_folder(folder)), "num_val": 8}
    return {"root": str(imagenet_folder(folder)), "num_workers": 0, "val_fraction": 0.2, "test_fraction": 0.2}


def _stand_in(args: dict[str, Any], folder: Path) -> None:
    """Replaces hub and shipped weights by small local ones; those of an installed package stay."""
    name = args.get("weights") or args.get("model")
    if name in TEXT_MODELS:
        args["model"] = text_model(name, folder)
        if "max_length" in args:
            args["max_length"] = 64
    if name in BOXES:
        args["weights"], args["pretrained"] = str(box_weights(name, folder)), False
    if "direct_layers" in args:
        args["direct_layers"] = SMALL["depth"]


def shrink(config: dict[str, Any], folder: Path, *, batch_size: int = 4) -> dict[str, Any]:
    """The same run on generated data, with its outputs in `folder`/run; nothing else changes.

    But for networks of their own size and pictures of 224 pixels, which compute in fp32: without instructions for it
    bf16 takes ten times as long.
    """
    model, data, trainer = config["model"]["init_args"], config["data"], config["trainer"]
    box = model.get("black_box", {}).get("init_args", {})
    if box.get("weights") == "efficientnet_lite0" or box.get("model") == "vit_base_patch16_224":
        box["precision"], trainer["precision"] = "fp32", "32-true"
    data["init_args"] |= {"batch_size": batch_size, **_data(data["class_path"], folder)}
    if "black_box" in model:
        _stand_in(model["black_box"]["init_args"], folder)
        _stand_in(model["explainer"]["init_args"]["encoder"]["init_args"], folder)
    else:
        if config["model"]["class_path"].endswith("TextClassifierModule"):
            _stand_in(model, folder)
        if "model_args" in model:
            model["model_args"] |= {"hidden": 4, "layers": 1} if model["model"] == "mel_blstm" else SMALL
        model["export"] = str(folder / "run" / "exported.safetensors")
    trainer |= {"accelerator": "cpu", "devices": 1, "max_epochs": 1, "log_every_n_steps": 1}
    trainer |= {f"limit_{part}_batches": 2 for part in ("train", "val", "test", "predict")}
    trainer.pop("val_check_interval", None)
    trainer["logger"]["init_args"] |= {"save_dir": str(folder), "name": "run"}
    for callback in trainer["callbacks"]:
        if callback["class_path"].endswith("ModelCheckpoint"):
            callback["init_args"]["dirpath"] = str(folder / "run" / "checkpoints")
        if callback["class_path"].endswith("ExplanationScores"):
            callback["init_args"]["limit"] = 4
    return config


def shrink_instances(config: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The same per-instance run on two generated instances and with few queries, its outputs in `folder`/run."""
    model, trainer = config["model"]["init_args"], config["trainer"]
    config["data"]["init_args"] |= _data(config["data"]["class_path"], folder)
    explainer = model["explainer"]["init_args"]
    box = explainer["black_box"]["init_args"]
    if box["weights"].startswith("runs/"):  # of another run: a small one of the same inputs
        box["weights"] = str(sound_weights(folder, Path(box["weights"]).stem))
    box |= {"precision": "fp32"} if "precision" in box else {}  # see `shrink`
    explainer.get("fit", {})["max_epochs"] = 4  # some before the mask is fitted, some after
    explainer |= {"num_samples": 8} if "num_samples" in explainer else {"iterations": 1, "budget": 8}
    model["output"], model["only"] = str(folder / "run" / "results"), "all"  # an untrained box is hardly ever correct
    trainer |= {"accelerator": "cpu", "devices": 1, "limit_predict_batches": 2}
    trainer["logger"]["init_args"] |= {"save_dir": str(folder), "name": "run"}
    return config


def sound_weights(folder: Path, name: str) -> Path:
    """Untrained weights of a BLSTM that stand in for what the run of that name exports."""
    path, arguments = folder / f"{name}.safetensors", load(name)["model"]["init_args"]
    torch.manual_seed(0)
    meta = {
        "model": "mel_blstm", "model_args": {"num_classes": len(arguments["class_names"]), "hidden": 4, "layers": 1},
        **{key: arguments[key] for key in ("preprocess", "class_names", "mean", "std")},
    }  # fmt: skip
    meta["preprocess"] = Preprocess(**meta["preprocess"]).to_dict()
    save_black_box(path, build_timm("mel_blstm", meta["model_args"]), meta)
    return path


def written(config: dict[str, Any], path: Path) -> str:
    """The config as a file; its path."""
    path.write_text(yaml.safe_dump(config))
    return str(path)
