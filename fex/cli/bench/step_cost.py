"""What a training step costs in time and memory, measured inside a real `Trainer.fit`."""

import importlib
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
import yaml
from jsonargparse import ArgumentParser
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor
from torch.utils.data import DataLoader

from fex.benchmark.measure import peak_bytes, wait
from fex.benchmark.speed.images import Figure, ratio, weights_or_random
from fex.cli.config import instantiated
from fex.storage.resources import config_path

__all__ = ["step_memory", "step_overhead"]

WARM_UP = 3  # batches
QUIET = (
    ".*does not have many workers.*", ".*smaller than the logging interval.*", ".*in eval mode at the start.*",
    ".*treespec, LeafSpec.*", ".*have no `val_dataloader`.*",
)  # fmt: skip


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
    built = instantiated(parser, parser.parse_object({"model": settings["model"]}))
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
        for harmless in QUIET:
            warnings.filterwarnings("ignore", harmless)
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
                encoded = explainer.encode(inputs)
                total = explainer.target_logits(encoded, target).sum()
                total = total + explainer.value(encoded.trunk, target, kept).sum()
                if module.kl_weight > 0:
                    total = total + explainer.class_log_rates(encoded).sum()
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
        {**below, "explainer": (module.updates.epochs, timer.samples["explainer"])},
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
