"""The weights of a trained explainer as a small file."""

from pathlib import Path

from fex.nets.trunk import without_trunk
from fex.storage.checkpoint import read_checkpoint
from fex.storage.weights import save_weights
from fex.texts.lora import adapters_only

__all__ = ["export_explainer"]


def export_explainer(checkpoint: str | Path, path: str | Path, *, without_backbone: bool = False) -> None:
    """Writes the explainer of a training checkpoint, without optimiser state, in bfloat16 safetensors.

    Where a shipped backbone was trained by adapters, these alone are written, and what is shipped is named.

    Args:
        checkpoint: of `fex-train`.
        path: of the file to write.
        without_backbone: leave out a timm ViT that training left as it was: whoever loads the file gives it (`backbone`
            of `load_explainer`), or has it from timm's hub.
    """
    tensors, meta = read_checkpoint(checkpoint)
    if without_backbone:
        tensors, meta = without_trunk(tensors, meta)
    elif meta.get("adapter_args") and meta["net"]["encoder"]["init_args"].get("lora_rank"):
        tensors, meta = adapters_only(tensors, meta)
    save_weights(path, tensors, meta)
