"""Low-rank adapters (LoRA, Hu et al. 2021) through `peft`: put in for training, merged away for use."""

import logging
from typing import Any

from torch import Tensor, nn

__all__ = ["adapters_only", "add_lora", "is_adapter", "linear_names", "merge_lora"]


def linear_names(net: nn.Module) -> list[str]:
    """Linear layers of a network's blocks: those in a numbered layer, so neither poolers nor heads."""
    return [
        name
        for name, module in net.named_modules()
        if isinstance(module, nn.Linear) and any(part.isdecimal() for part in name.split("."))
    ]


def add_lora(net: Any, rank: int) -> Any:
    """Freezes a network and gives the linear layers of its blocks trainable updates of rank `rank`, 0 at the start.

    Args:
        net: changed in place.
        rank: of the updates; they are scaled by 2.

    Raises:
        ImportError: peft is not installed.
        ValueError: a rank below 1, or a network without such layers.
    """
    if rank < 1:
        raise ValueError(f"The rank of LoRA must be at least 1, got {rank}.")
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
    config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=names)
    return inject_adapter_in_model(config, net)


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
