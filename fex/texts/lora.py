"""Low-rank adapters (LoRA, Hu et al. 2021) through `peft`: put in for training, merged away for use."""

import logging
import math
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["StepDropout", "adapters_only", "add_lora", "check_lora", "is_adapter", "linear_names", "merge_lora"]


class StepDropout(nn.Module):
    """Dropout that draws once a training step: all passes of the step, and all its inputs, drop the same entries.

    Masks are drawn by one pass and weighed by others. Were each pass to drop entries of its own, the ratio of eq. 21
    would compare two networks, and not one before and after an update.

    Args:
        share: of the entries that are dropped, in [0, 1).
        layer: number of the layer; each drops entries of its own.

    Attributes:
        step: number of the draw; whoever trains sets it.
    """

    def __init__(self, share: float, layer: int) -> None:
        super().__init__()
        self.share, self.layer, self.step = share, layer, 0
        self.training = False  # until whoever trains says so: what is built is built to explain

    def forward(self, values: Tensor) -> Tensor:
        """(B, ..., D) -> the same; in evaluation mode as it is."""
        if not self.training:
            return values
        generator = torch.Generator().manual_seed((self.step * 4096 + self.layer) % 2**63)
        kept = torch.rand(values.shape[1:], generator=generator) >= self.share
        return values * (kept.to(values) / (1 - self.share))


def linear_names(net: nn.Module) -> list[str]:
    """Linear layers of a network's blocks: those in a numbered layer, so neither poolers nor heads."""
    return [
        name
        for name, module in net.named_modules()
        if isinstance(module, nn.Linear) and any(part.isdecimal() for part in name.split("."))
    ]


def check_lora(rank: int, alpha: float | None, dropout: float) -> dict[str, Any]:
    """The settings of LoRA that are none of the usual ones, by the names that encoders give them: plain data.

    Raises:
        ValueError: settings out of range, or such that change nothing without a rank.
    """
    if alpha is not None and not 0 < alpha < math.inf:
        raise ValueError(f"lora_alpha must be a number above 0, got {alpha}; None takes twice the rank.")
    if not 0 <= dropout < 1:
        raise ValueError(f"lora_dropout is the share of entries that are dropped, in [0, 1); got {dropout}.")
    if not rank and (alpha is not None or dropout):
        raise ValueError("lora_alpha and lora_dropout change nothing without LoRA: set lora_rank to at least 1.")
    given = {"lora_alpha": alpha, "lora_dropout": dropout}
    return {name: value for name, value in given.items() if value}


def add_lora(net: Any, rank: int, alpha: float | None = None, dropout: float = 0.0) -> Any:
    """Freezes a network and gives the linear layers of its blocks trainable updates of rank `rank`, 0 at the start.

    Args:
        net: changed in place.
        rank: r of the updates (alpha / r) B A.
        alpha: their scale; None is 2 r.
        dropout: share of what A reads that is dropped in training mode (`StepDropout`).

    Raises:
        ImportError: peft is not installed.
        ValueError: settings out of range, or a network without such layers.
    """
    if rank < 1:
        raise ValueError(f"The rank of LoRA must be at least 1, got {rank}.")
    check_lora(rank, alpha, dropout)
    # peft imports bitsandbytes where that is installed, which then tells what 4-bit weights, not used here, would need.
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise ImportError('LoRA needs peft: pip install "fex-explain[text]".') from error
    names = linear_names(net)
    if not names:
        raise ValueError(f"LoRA found no linear layers in the blocks of {type(net).__name__}: leave lora_rank at 0.")
    net.requires_grad_(requires_grad=False)
    # Whole names: `proj` alone would also find the convolution of a patch embedding.
    config = LoraConfig(r=rank, lora_alpha=alpha or 2 * rank, target_modules=names)
    net = inject_adapter_in_model(config, net)
    for number, name in enumerate(names if dropout else ()):
        net.get_submodule(name).lora_dropout["default"] = StepDropout(dropout, number)
    return net


def merge_lora(net: Any) -> Any:
    """Adds the updates to the weights and takes the adapters out, in place: as fast as without them."""
    for parent in list(net.modules()):
        for name, child in list(parent.named_children()):
            if hasattr(child, "merge") and hasattr(child, "get_base_layer"):
                child.merge()
                setattr(parent, name, child.get_base_layer())
    if hasattr(net, "peft_config"):  # or the next adapters would be taken for further ones
        del net.peft_config
    return net


def is_adapter(name: str) -> bool:
    """Whether a tensor of an `ExplainerNet` was trained beside a backbone with LoRA."""
    return not name.startswith("encoder.net.") or ".lora_" in name


def adapters_only(tensors: dict[str, Tensor], meta: dict[str, Any]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What was trained beside a shipped backbone, and a description that names it; see `export_explainer`."""
    encoder = {"class_path": meta["net"]["encoder"]["class_path"], "init_args": meta["adapter_args"]}
    kept = {name: tensor for name, tensor in tensors.items() if is_adapter(name)}
    # The backbone's own folder holds the tokenizer as well.
    preprocess = {key: value for key, value in meta["preprocess"].items() if key != "tokenizer"}
    return kept, {**meta, "net": {**meta["net"], "encoder": encoder}, "preprocess": preprocess, "adapters": True}
