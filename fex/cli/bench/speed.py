"""`fex-bench speed`: what a training step, an explanation, a folder and batches of texts cost, in ratios."""

import importlib
import json
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import timm
import torch
import yaml
from rich.console import Console
from rich.table import Table
from torch import Tensor

from fex.benchmark.speed.images import Figure, make_explainer, one_pass, speedups, weights_or_random
from fex.benchmark.speed.instances import attention_memory, compiled_speedup, dax_memory, dax_overhead, iassa_overhead
from fex.benchmark.speed.memory import check_count, class_head_memory, folder_memory, memory_ratios
from fex.benchmark.speed.overhead import harness_overhead
from fex.benchmark.speed.texts import (
    made_up_sentences,
    make_text_explainer,
    padding_waste,
    text_tokenizer,
    text_weights_or_random,
)
from fex.black_box import TextBlackBox, TimmBlackBox
from fex.cli.bench.scale import allocation, decoding, mask_noise, result_files
from fex.cli.bench.step_cost import step_memory, step_overhead
from fex.images.features import PatchGrid
from fex.nets import ExplainerNet, PyramidEncoder, TextEncoder, ViTEncoder
from fex.storage.atomic import replacing
from fex.storage.resources import config_path

__all__ = ["FIGURES", "run_speed"]


def _cifar_explainer(folder: Path) -> tuple[Any, TimmBlackBox]:
    weights = weights_or_random("vit_cifar10", folder)
    box = TimmBlackBox(weights=weights, precision="bf16", channels_last=True, chunk=512)
    return make_explainer(ViTEncoder("conv_vit_tiny", weights=weights), box, PatchGrid(8, 8)), box


def _one_pass_vit(repeats: int, folder: Path) -> list[Figure]:
    explainer, _ = _cifar_explainer(folder)
    return [one_pass("one_pass_vit", explainer, _pictures(64, 32), repeats=repeats)]


def _one_pass_cnn(repeats: int, folder: Path) -> list[Figure]:  # noqa: ARG001
    box = TimmBlackBox(weights="efficientnet_lite0")
    encoder = PyramidEncoder("tf_efficientnet_lite0", weights="efficientnet_lite0")
    explainer = make_explainer(encoder, box, PatchGrid(7, 7))
    return [one_pass("one_pass_cnn", explainer, _pictures(16, 224), repeats=repeats)]


def _speedups(repeats: int, folder: Path) -> list[Figure]:
    explainer, box = _cifar_explainer(folder)
    return speedups(explainer, box, _pictures(16, 32), repeats=repeats)


def _memory(repeats: int, folder: Path) -> list[Figure]:  # noqa: ARG001
    explainer, box = _cifar_explainer(folder)
    return memory_ratios(explainer, box, _pictures(1, 32))


def _harness(repeats: int, folder: Path) -> list[Figure]:
    explainer, box = _cifar_explainer(folder)
    return harness_overhead(explainer, box, _pictures(256, 32), folder, repeats=repeats)


def _text_explainer(folder: Path) -> tuple[Any, TextBlackBox]:
    weights = text_weights_or_random("minilm_sst2", folder)
    box = TextBlackBox(weights)
    return make_text_explainer(TextEncoder(weights, class_head=True), box), box


def _one_pass_text(repeats: int, folder: Path) -> list[Figure]:
    explainer, box = _text_explainer(folder)
    return [one_pass("one_pass_text", explainer, _sentences(box, 32), repeats=repeats)]


def _speedup_text(repeats: int, folder: Path) -> list[Figure]:
    explainer, box = _text_explainer(folder)
    return speedups(explainer, box, _sentences(box, 8), repeats=repeats)


def _sentences(box: TextBlackBox, count: int) -> Tensor:
    """Of 24 words each, about what the whole sentences of SST-2 have as tokens."""
    return box.tokenize(made_up_sentences(count, words=24))


def _padding(data: str | None, folder: Path) -> list[Figure]:
    """Batches of the text run's own datamodule, on its data or on as many made-up sentences as a few pools hold."""
    settings = yaml.safe_load(config_path("fex_minilm_sst2.yaml").read_text())["data"]
    module, _, name = settings["class_path"].rpartition(".")
    if data is None:
        lines = ["sentence\tlabel", *(f"{text}\t0" for text in made_up_sentences(10_000))]
        (folder / "train.tsv").write_text("\n".join(lines))
    tokenizer = text_tokenizer(folder / "tokenizer")
    options = {**settings["init_args"], "root": data or str(folder), "preprocess": tokenizer}
    texts = getattr(importlib.import_module(module), name)(**options)
    texts.setup("fit")
    return [padding_waste(texts.train_dataloader(), tokenizer.pad)]


def _class_heads(repeats: int, folder: Path) -> list[Figure]:  # noqa: ARG001
    encoder = ViTEncoder("conv_vit_tiny", model_args={"img_size": 32})
    figures = []
    for batch, classes in ((32, 1000), (64, 1000), (64, 4000)):
        net = ExplainerNet(encoder).build(classes, PatchGrid(14, 14))
        figures.append(class_head_memory(net, batch))
    return figures


def _pictures(count: int, size: int) -> Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(0))


def _folder(images: int, folder: Path) -> list[Figure]:
    return [folder_memory(_cifar_explainer(folder)[0], images)]


# What `--only` names; each takes the number of repeats and a folder for temporary files.
FIGURES: dict[str, Callable[[int, Path], list[Figure]]] = {
    "step_overhead": lambda repeats, _: [step_overhead("step_overhead", "fex_vit_cifar10.yaml", repeats=repeats)],
    "step_overhead_paper": lambda repeats, _: [
        step_overhead("step_overhead_paper", "fex_paper_vit_cifar10.yaml", repeats=repeats)
    ],
    "one_pass_vit": _one_pass_vit,
    "one_pass_cnn": _one_pass_cnn,
    "one_pass_text": _one_pass_text,
    "speedup": _speedups,
    "speedup_text": _speedup_text,
    "memory": _memory,
    "harness": _harness,
    "step_memory": lambda _repeats, _folder: [step_memory("fex_vit_cifar10.yaml")],
    "class_head_memory": _class_heads,
    "dax_overhead": lambda _repeats, _folder: [dax_overhead()],
    "dax_memory": lambda _repeats, _folder: [dax_memory()],
    "iassa_overhead": lambda _repeats, _folder: iassa_overhead(),
    "decoding": lambda repeats, _: decoding(repeats),
    "mask_noise": lambda repeats, _: mask_noise(repeats),
    "allocation": lambda repeats, _: allocation(repeats),
    "result_files": result_files,
    "iassa_attention_memory": lambda _repeats, _folder: [attention_memory()],
}


def _table(figures: Sequence[Figure]) -> Table:
    table = Table(title="speed and memory", title_justify="left", caption="medians [quartiles]", caption_justify="left")
    table.add_column("quantity")
    for name in ("value", "target", "ok"):
        table.add_column(name, justify="right")
    table.add_column("measured")
    for figure in figures:
        target = "" if figure.target is None else f"{figure.bound} {figure.target:g} {figure.unit}"
        ok = {True: "yes", False: "no", None: ""}[figure.ok]
        table.add_row(
            figure.name, f"{figure.value:.3g} {figure.unit}", target, ok, "\n".join(map(_part, figure.parts.items()))
        )
    return table


def _part(item: tuple[str, Any]) -> str:
    name, value = item
    if not isinstance(value, dict):
        return f"{name.replace('_', ' ')} {value:,.4g}"
    low, high = (1e3 * quartile for quartile in value["quartiles"])
    times = f"{value['count']} x " if value.get("count", 1) != 1 else ""
    return f"{name.replace('_', ' ')} {times}{1e3 * value['median']:.1f} ms [{low:.1f}, {high:.1f}]"


def run_speed(
    path: str | Path | None = None,
    *,
    repeats: int = 15,
    images: int = 2000,
    data: str | None = None,
    only: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Measures, prints the table, and writes `path` (JSON) where given; returns what is in it.

    Args:
        path: of the JSON file.
        repeats: measurements of each time.
        images: pictures of `folder_memory`.
        data: folder with SST-2's train.tsv for `padding_waste`; by default made-up sentences of like lengths.
        only: which figures; by default all.

    Raises:
        ValueError: a figure that does not exist, or too few images for `folder_memory`.
    """
    steps = {
        **FIGURES,
        "padding_waste": lambda _repeats, folder: _padding(data, folder),
        "folder_memory": lambda _repeats, folder: _folder(images, folder),
    }
    if shutil.which("c++") or find_spec("openvino") or "compiled_speedup" in (only or ()):
        steps["compiled_speedup"] = lambda repeats, _folder: compiled_speedup(repeats)
    unknown = sorted(set(only or ()) - set(steps))
    if unknown:
        raise ValueError(f"fex-bench speed knows no {', '.join(unknown)}; it measures {', '.join(steps)}.")
    if "folder_memory" in (steps if only is None else only):
        check_count(images)
    figures: list[Figure] = []
    for name, measure in steps.items():
        if only is not None and name not in only:
            continue
        print(f"{name} ...", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory() as folder:
            figures += measure(repeats, Path(folder))
    report: dict[str, Any] = {figure.name: figure.to_dict() for figure in figures}
    report["versions"] = {
        "python": platform.python_version(), "torch": torch.__version__, "lightning": pl.__version__,
        "timm": timm.__version__,
    }  # fmt: skip
    report["threads"] = torch.get_num_threads()
    report["shapes"] = {figure.name: figure.shapes for figure in figures}
    console = Console()
    console = console if console.is_terminal else Console(width=120)
    console.print(_table(figures))
    if path is not None:
        with replacing(path) as part:
            part.write_text(json.dumps(report, indent=1))
        print(f"figures: {path}")
    return report
