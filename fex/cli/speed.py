"""`fex-bench speed`: what a training step, an explanation and a folder of pictures cost, in ratios."""

import importlib
import json
import platform
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import timm
import torch
import yaml
from jsonargparse import ArgumentParser
from lightning.pytorch.loggers import TensorBoardLogger
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.utils.data import DataLoader

from fex.atomic import replacing
from fex.benchmark.memory import class_head_memory, folder_memory, peak_bytes
from fex.benchmark.speed import Figure, make_explainer, one_pass, ratio, speedups, wait, weights_or_random
from fex.black_box import TimmBlackBox
from fex.features import PatchGrid
from fex.nets import ExplainerNet, PyramidEncoder, ViTEncoder
from fex.resources import config_path

__all__ = ["FIGURES", "run_speed", "step_memory", "step_overhead"]

WARM_UP = 3  # batches


def _build(config: str, folder: Path, num_masks: int | None = None) -> tuple[Any, dict[str, Any]]:
    """The module of a CIFAR-10 config, and the whole config; weights that are not shipped become random ones."""
    settings = yaml.safe_load(config_path(config).read_text())
    options = settings["model"]["init_args"]
    for part in (options["black_box"], options["explainer"]["init_args"]["encoder"]):
        part["init_args"]["weights"] = weights_or_random(part["init_args"]["weights"], folder)
    if num_masks is not None:
        options["num_masks"] = num_masks
    parser = ArgumentParser()
    parser.add_subclass_arguments(pl.LightningModule, "model")
    built = parser.instantiate_classes(parser.parse_object({"model": settings["model"]}))
    return built.model, settings


def _fit(module: Any, settings: dict[str, Any], watcher: pl.Callback, batches: int, batch_size: int | None) -> int:
    """Trains on random pictures as the config says, its loggers and per-batch callbacks included; returns B."""
    size, count = module.preprocess.size, batch_size or settings["data"]["init_args"]["batch_size"]
    generator = torch.Generator().manual_seed(0)
    pool = [
        {
            "inputs": torch.rand(count, 3, *size, generator=generator),
            "valid": torch.ones(count, dtype=torch.bool),
            "index": torch.arange(count),
        }
        for _ in range(4)
    ]
    health = importlib.import_module("lightning_modules.callbacks").HealthSigns()
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*does not have many workers.*")
        warnings.filterwarnings("ignore", ".*val_dataloader.*")
        trainer = pl.Trainer(
            max_epochs=1,
            precision=settings["trainer"]["precision"],
            log_every_n_steps=settings["trainer"]["log_every_n_steps"],
            logger=TensorBoardLogger(folder, name="", version=""),
            callbacks=[health, watcher],
            devices=1,
            limit_val_batches=0,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(module, DataLoader([pool[i % 4] for i in range(batches)], batch_size=None))
    return count


class _InTurn(pl.Callback):
    """After each batch, runs and times the passes that the step could not avoid, on the same inputs.

    A step lasts from the end of one measurement to the end of the next batch: fetching the batch, the training step,
    the optimiser, callbacks and logging are all in it.
    """

    def __init__(self) -> None:
        names = ("step", "black_box_clean", "black_box_masked", "explainer")
        self.samples: dict[str, list[float]] = {name: [] for name in names}
        self.mark: float | None = None

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: object, batch: Any, batch_idx: int
    ) -> None:
        """Ends a step, and measures."""
        wait(pl_module.device)
        keep = batch_idx >= WARM_UP
        if keep and self.mark is not None:
            self.samples["step"].append(time.perf_counter() - self.mark)
        for name, run in self._passes(trainer, pl_module, batch["inputs"]).items():
            wait(pl_module.device)
            start = time.perf_counter()
            run()
            wait(pl_module.device)
            if keep:
                self.samples[name].append(time.perf_counter() - start)
        self.mark = time.perf_counter()

    @staticmethod
    def _passes(trainer: pl.Trainer, module: Any, inputs: Tensor) -> dict[str, Callable[[], None]]:
        box, explainer = module.black_box, module.explainer
        count, features = module.num_masks, module.features.num_features
        generator = torch.Generator().manual_seed(0)
        masks = torch.rand(len(inputs), count, features, generator=generator).round().to(inputs.device)
        masked = module.masker(inputs, masks)
        target = torch.zeros(len(inputs), dtype=torch.int64, device=inputs.device)
        kept = masks.mean(-1)

        def explain() -> None:
            with trainer.precision_plugin.forward_context():
                tokens, shared, trunk = explainer.encode(inputs)
                total = explainer.target_logits(tokens, shared, target).sum()
                total = total + explainer.value(trunk, target, kept).sum()
                if module.kl_weight > 0:
                    total = total + explainer.class_log_rates(tokens, shared).sum()
            total.backward()
            explainer.zero_grad()

        return {
            "black_box_clean": lambda: box(inputs),
            "black_box_masked": lambda: box(masked),
            "explainer": explain,
        }


def step_overhead(
    name: str, config: str, *, repeats: int = 15, batch_size: int | None = None, target: float = 1.15
) -> Figure:
    """A training step inside a real `Trainer.fit`, against the passes that it cannot avoid (method notes, §1).

    These are the black box on B clean and B K masked images, in its chunks, and for each inner epoch the explainer
    forward and backward with the heads that the losses need (the first epoch reuses the rollout's pass).

    Args:
        name: of the figure.
        config: packaged config of a CIFAR-10 run.
        repeats: steps measured, after `WARM_UP`.
        batch_size: B; by default the config's.
        target: bound of the ratio.
    """
    with tempfile.TemporaryDirectory() as folder:
        module, settings = _build(config, Path(folder))
        timer = _InTurn()
        batch = _fit(module, settings, timer, WARM_UP + repeats, batch_size)
    below = {part: (1, timer.samples[part]) for part in ("black_box_clean", "black_box_masked")}
    return ratio(
        name,
        timer.samples["step"],
        {**below, "explainer": (module.inner_epochs, timer.samples["explainer"])},
        target=target,
        label="step",
        shapes={
            "config": config, "batch": batch, "masks": module.num_masks, "features": module.features.num_features,
            "size": list(module.preprocess.size), "chunk": module.black_box.chunk,
            "precision": settings["trainer"]["precision"],
        },
    )  # fmt: skip


class _Peak(pl.Callback):
    """Peak of the allocations in one training step."""

    def __init__(self) -> None:
        self.bytes = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Puts the meter around the training step; the steps before the last one make the optimiser's state."""
        step: Any = pl_module.training_step

        def measured(batch: Any, batch_idx: int) -> None:
            if batch_idx + 1 < trainer.num_training_batches:
                step(batch, batch_idx)
            else:
                self.bytes = peak_bytes(lambda: step(batch, batch_idx), pl_module.device)

        pl_module.training_step = measured  # type: ignore[method-assign]


def step_memory(
    config: str, *, masks: Sequence[int] = (5, 20, 80), batch_size: int | None = None, target: float = 1.1
) -> Figure:
    """Peak of the allocations in a training step with the most masks, against the one with the fewest.

    Both must fill a chunk of the black box, beyond which the peak is not to grow.
    """
    peaks: dict[int, float] = {}
    for count in masks:
        with tempfile.TemporaryDirectory() as folder:
            module, settings = _build(config, Path(folder), count)
            peak = _Peak()
            batch = _fit(module, settings, peak, 2, batch_size)
            peaks[count] = peak.bytes / 1e6
    return Figure(
        "step_memory",
        peaks[max(masks)] / peaks[min(masks)],
        target,
        parts={f"mb_of_{count}_masks": peak for count, peak in peaks.items()},
        shapes={"config": config, "batch": batch, "masks": list(masks), "chunk": module.black_box.chunk},
    )


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
    "speedup": _speedups,
    "step_memory": lambda _repeats, _folder: [step_memory("fex_vit_cifar10.yaml")],
    "class_head_memory": _class_heads,
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
    path: str | Path | None = None, *, repeats: int = 15, images: int = 2000, only: Sequence[str] | None = None
) -> dict[str, Any]:
    """Measures, prints the table, and writes `path` (JSON) where given; returns what is in it.

    Args:
        path: of the JSON file.
        repeats: measurements of each time.
        images: pictures of `folder_memory`.
        only: which figures; by default all.

    Raises:
        ValueError: a figure that does not exist.
    """
    steps = {**FIGURES, "folder_memory": lambda _repeats, folder: _folder(images, folder)}
    unknown = sorted(set(only or ()) - set(steps))
    if unknown:
        raise ValueError(f"fex-bench speed knows no {', '.join(unknown)}; it measures {', '.join(steps)}.")
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
