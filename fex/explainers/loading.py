"""Trained explainers of every modality, from and to files."""

from pathlib import Path
from typing import Any

from torch import Tensor

from fex.explainers.trained import AmortizedExplainer
from fex.modality import modality_of
from fex.nets import rebuild
from fex.storage.checkpoint import read_checkpoint
from fex.storage.description import building
from fex.storage.weights import load_state, save_weights
from fex.texts.lora import adapters_only

__all__ = ["build_explainer", "export_explainer", "load_explainer"]


def export_explainer(checkpoint: str | Path, path: str | Path) -> None:
    """Writes the explainer of a training checkpoint, without optimiser state, in bfloat16 safetensors.

    Where a shipped backbone was trained by adapters, these alone are written, and what is shipped is named.
    """
    tensors, meta = read_checkpoint(checkpoint)
    if meta.get("adapter_args") and meta["net"]["encoder"]["init_args"].get("lora_rank"):
        tensors, meta = adapters_only(tensors, meta)
    save_weights(path, tensors, meta)


def load_explainer(name_or_path: str | Path) -> AmortizedExplainer:
    """A trained explainer, ready to explain; needs neither the black box nor data, and runs no code from the file.

    Args:
        name_or_path: shipped name, a .ckpt of `fex-train`, an exported .safetensors, or a run's folder.

    Raises:
        FileNotFoundError: nothing there; lists the shipped names.
        ValueError: not a checkpoint of an explainer, or one that does not fit.
    """
    return build_explainer(*read_checkpoint(name_or_path), source=str(name_or_path))


def build_explainer(tensors: dict[str, Tensor], meta: dict[str, Any], *, source: str) -> AmortizedExplainer:
    """The explainer of what `read_checkpoint` gave.

    Args:
        tensors: weights.
        meta: description.
        source: what errors call it.

    Raises:
        ValueError: weights or a description that do not fit; a modality whose package was not imported.
    """
    modality = modality_of(meta.get("modality", "image"))
    with building(tensors, source):
        # Checkpoints of before the key was written learnt exclusive classes, whatever their box was.
        labels = bool(meta.get("multi_label", False))
        net = rebuild(meta["net"], len(meta["class_names"]), modality.features(meta), multi_label=labels)
        weights, whole = modality.complete(net, tensors, meta)
        load_state(net, weights, source=source)
        net.encoder.merge()
        return (modality.explainer or AmortizedExplainer)(net, whole)
