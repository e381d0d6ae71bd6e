"""Trains a text classifier that then serves as a black box."""

from typing import Any

import torch
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor

from fex.texts import add_lora
from fex.texts.backbone import load_text_net, save_text_black_box
from lightning_modules.classification import Classification

__all__ = ["TextClassifierModule"]


class TextClassifierModule(Classification):
    """A transformers sequence classifier, all of it or by low-rank adapters.

    Args:
        model: what it starts from: shipped backbone, local folder or hub id.
        class_names: names of the classes, in label order.
        max_length: most tokens of a text; by default the model's own limit.
        lora_rank: rank of the adapters of the linear layers, with which pooler and head are trained; 0 trains all.
        optimizer: see `Classification`.
        label_smoothing: see there.
        warmup: see there.
        export: at the end of `fit`, also write what was trained (bf16, safetensors) to this path.
    """

    def __init__(
        self,
        model: str,
        *,
        class_names: list[str],
        max_length: int | None = None,
        lora_rank: int = 0,
        optimizer: OptimizerCallable = torch.optim.AdamW,
        label_smoothing: float = 0.0,
        warmup: float = 0.1,
        export: str | None = None,
    ) -> None:
        super().__init__(
            class_names, optimizer=optimizer, label_smoothing=label_smoothing, warmup=warmup, export=export
        )
        found = load_text_net(model, classifier=True, num_classes=len(class_names), max_length=max_length)
        self.preprocess, self.reading = found.preprocess, found.reading
        self.meta = {
            "base": model, "lora_rank": lora_rank, "class_names": class_names,
            "max_length": found.preprocess.max_length,
        }  # fmt: skip
        net: Any = found.net
        if lora_rank:
            trained = [p for n, p in net.named_parameters() if "embeddings" not in n and not _in_block(n)]
            net = add_lora(net, lora_rank)
            for parameter in trained:  # pooler and head
                parameter.requires_grad_()
        else:
            net.requires_grad_()
        self.net = net.train()  # with dropout; it was loaded for use

    def forward(self, inputs: Tensor) -> Tensor:
        """Token ids (B, L) -> logits (B, C)."""
        groups = self.reading.groups(inputs)
        parts = [self.reading.arguments(self.net, self.reading.cut(inputs[rows])) for rows in groups]
        return torch.cat([self.net(**part).logits for part in parts])[torch.cat(groups).argsort()]

    def write(self, path: str) -> None:
        """Writes what was trained."""
        save_text_black_box(path, self.net, self.meta)


def _in_block(name: str) -> bool:
    """Whether a parameter belongs to a numbered layer."""
    return any(part.isdecimal() for part in name.split("."))
