"""Small runs: generated pictures in memory, boxes with known answers, a small ViT, a trainer that says nothing."""

from collections.abc import Sequence
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor

from datamodules.images import ImageDataModule
from fex.images import PatchGrid, Preprocess
from fex.nets import ExplainerNet, ViTEncoder
from lightning_modules import FEXModule
from tests.toys import ToyBox

GRID, SIZE = PatchGrid(4, 4), 32
VIT = {"img_size": SIZE, "patch_size": 8, "embed_dim": 32, "depth": 1, "num_heads": 2}


class FixedPatchBox(ToyBox):
    """Class 1 goes by the brightness of patch 6 alone."""

    def __init__(self, **options: Any) -> None:
        super().__init__(GRID, SIZE, **options)

    def brightness_to_probability(self, brightness: Tensor) -> Tensor:
        return 0.05 + 0.9 * (4 * brightness[:, 6]).clamp_max(1)


class BrightPatchBox(ToyBox):
    """Class 1 iff any patch is bright."""

    def __init__(self, **options: Any) -> None:
        super().__init__(GRID, SIZE, **options)

    def brightness_to_probability(self, brightness: Tensor) -> Tensor:
        return torch.where(brightness.amax(1) > 0.6, 0.95, 0.05)


class SmoothBox(ToyBox):
    """Both classes occur, every patch counts, each differently."""

    def __init__(self, **options: Any) -> None:
        super().__init__(GRID, SIZE, **options)
        self.weights = torch.linspace(-3, 3, GRID.num_features)

    def brightness_to_probability(self, brightness: Tensor) -> Tensor:
        return (brightness @ self.weights).sigmoid()


class NaNBox(SmoothBox):
    """Breaks down after so many queries."""

    def __init__(self, after: int, **options: Any) -> None:
        super().__init__(name="broken_box", **options)
        self.after = after

    def brightness_to_probability(self, brightness: Tensor) -> Tensor:
        found = super().brightness_to_probability(brightness)
        return found * torch.nan if self.queries >= self.after else found


def pictures(count: int, *, bright: bool = False, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Noise (count, 3, 32, 32), darker than 0.5, with one bright patch each if `bright`; which patch it is (count,)."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.rand(count, 3, SIZE, SIZE, generator=generator) * (0.5 if bright else 1.0)
    places = torch.randint(0, GRID.num_features, (count,), generator=generator)
    if bright:
        spots = torch.nn.functional.one_hot(places, GRID.num_features).float()
        inputs = torch.maximum(inputs, 0.9 * GRID.expand(spots, (SIZE, SIZE)).unsqueeze(1))
    return inputs, places


class Pictures(ImageDataModule):
    """Those, held in memory."""

    def __init__(self, count: int = 32, *, bright: bool = False, **options: Any) -> None:
        super().__init__(preprocess=Preprocess(SIZE, SIZE), **options)
        self.count, self.bright = count, bright

    def setup(self, stage: str) -> None:
        rows = [{"inputs": row} for row in pictures(self.count, bright=self.bright)[0]]
        self.datasets = {name: rows for name in ("train", "val", "test")}


def vit(**options: Any) -> ExplainerNet:
    torch.manual_seed(0)
    return ExplainerNet(ViTEncoder("conv_vit_tiny", model_args=VIT), hidden=32, **options)


def sgd(parameters: Any) -> torch.optim.Optimizer:
    # AdamW would blow up the rounding noise of gradients that are zero (the keys' bias) to whole steps.
    return torch.optim.SGD(parameters, lr=0.05, momentum=0.9)


class Recorder(pl.Callback):
    """What was logged after each batch."""

    def __init__(self) -> None:
        self.rows: list[dict[str, float]] = []

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        found = {k: float(v) for k, v in trainer.callback_metrics.items() if k.startswith("train/")}
        self.rows.append(found)


def trainer(*callbacks: pl.Callback, **options: Any) -> pl.Trainer:
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    quiet |= {"enable_checkpointing": False, "num_sanity_val_steps": 0, "limit_val_batches": 0, "max_epochs": 1}
    return pl.Trainer(**{**quiet, "use_distributed_sampler": False, **options}, callbacks=list(callbacks))


def fit(
    module: FEXModule, data: pl.LightningDataModule, callbacks: Sequence[pl.Callback] = (), **options: Any
) -> list[dict[str, float]]:
    """Trains; returns what was logged after each batch."""
    recorder = Recorder()
    trainer(recorder, *callbacks, **options).fit(module, datamodule=data)
    return recorder.rows


def weights_of(module: FEXModule) -> Tensor:
    """All trainable numbers, one after the other."""
    return torch.cat([parameter.detach().reshape(-1) for parameter in module.explainer.parameters()])
