"""A small benchmark: generated pictures, a box of two classes that looks at the left half, three methods."""

import torch
import yaml

from tests.shrink import cifar_folder

ASKED: list[int] = []


def half(inputs):
    """A box of two classes that looks at the left half."""
    ASKED.append(len(inputs))
    left = inputs[..., : inputs.shape[-1] // 2].mean((1, 2, 3))
    return torch.stack([left, 1 - left], 1)


def config(folder, **changes):
    methods = {
        "RISE": {"class_path": "fex.baselines.RISE", "init_args": {"num_masks": 20}},
        "Random": {"class_path": "fex.baselines.Random"},
        "Broken": {"class_path": "fex.baselines.Random", "init_args": {"colour": "red"}},
    }
    content = {
        "black_box": {
            "class_path": "fex.black_box.CallableBlackBox",
            "init_args": {"function": f"{__name__}:half", "num_classes": 2,
                          "preprocess": {"height": 32, "width": 32}},
        },
        "data": {"class_path": "datamodules.CIFAR10",
                 "init_args": {"root": str(cifar_folder(folder)), "batch_size": 3}},
        "features": {"height": 4, "width": 4},
        "methods": methods,
        "output": str(folder / "out"),
    } | changes  # fmt: skip
    path = folder / "benchmark.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return ["run", "--config", str(path)]


def scores(report):
    return {(r["method"], r["protocol"], r["metric"]): (r["value"], r.get("ci95"), r["n"]) for r in report["rows"]}


def ten(inputs):
    return torch.softmax(inputs.mean((2, 3)) @ torch.linspace(-1, 1, 30).view(3, 10), 1)
