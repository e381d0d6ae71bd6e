"""Trains a classifier that then serves as a black box."""

from typing import Any

import torch
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor

from fex.images import Preprocess
from fex.nets.timm_parts import load_backbone
from fex.storage.weights import save_black_box
from lightning_modules.classification import Classification

__all__ = ["ClassifierModule"]


class ClassifierModule(Classification):
    """A timm classifier, cross-entropy with label smoothing, one-cycle learning rate.

    Args:
        model: timm name (`conv_vit_tiny` is this project's).
        model_args: keyword arguments of that model, plain data.
        weights: local file or shipped name of a classifier's weights to start from; its head is taken where it fits.
        preprocess: geometry of its inputs.
        class_names: names of the classes, in label order.
        mean: mean of its normalisation, RGB in [0, 1].
        std: standard deviation of its normalisation.
        optimizer: builds the optimiser from the parameters; its learning rate is the schedule's peak.
        label_smoothing: share of the target mass spread over all classes.
        warmup: share of the steps over which the learning rate rises.
        channels_last: memory format.
        export: at the end of `fit`, also write the weights (bf16, safetensors) to this path.
    """

    def __init__(
        self,
        model: str,
        *,
        preprocess: Preprocess,
        class_names: list[str],
        model_args: dict[str, Any] | None = None,
        weights: str | None = None,
        mean: tuple[float, float, float] = (0.485, 0.456, 0.406),
        std: tuple[float, float, float] = (0.229, 0.224, 0.225),
        optimizer: OptimizerCallable = torch.optim.AdamW,
        label_smoothing: float = 0.1,
        warmup: float = 0.15,
        channels_last: bool = True,
        export: str | None = None,
    ) -> None:
        super().__init__(
            class_names, optimizer=optimizer, label_smoothing=label_smoothing, warmup=warmup, export=export
        )
        self.preprocess = preprocess
        self.meta = {
            "model": model,
            "model_args": {"num_classes": len(class_names), **(model_args or {})},
            "class_names": class_names,
            "preprocess": preprocess.to_dict(),
            "mean": list(mean),
            "std": list(std),
        }
        self.net, _ = load_backbone(model, weights, self.meta["model_args"], pretrained=False)
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.net.to(memory_format=self.memory_format)

    def forward(self, inputs: Tensor) -> Tensor:
        """Inputs (B, 3, H, W) in [0, 1] -> logits (B, C)."""
        return self.net(((inputs - self.mean) / self.std).contiguous(memory_format=self.memory_format))

    def write(self, path: str) -> None:
        """Writes the weights."""
        save_black_box(path, self.net, self.meta)
