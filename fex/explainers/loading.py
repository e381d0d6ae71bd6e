"""Trained explainers of every modality, from and to files."""

from pathlib import Path
from typing import Any

from torch import Tensor

from fex.explainers.trained import AmortizedExplainer
from fex.export import ExportedNet, export_explainer, is_export, read_export
from fex.hub import fetch, is_hub_name
from fex.modality import modality_of
from fex.nets import rebuild
from fex.storage.checkpoint import read_checkpoint
from fex.storage.description import building
from fex.storage.weights import load_state

__all__ = ["build_explainer", "export_explainer", "load_explainer", "read_explainer"]


def read_explainer(name_or_path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What `build_explainer` builds an explainer of: weights and description, or the files of an export and theirs.

    Args:
        name_or_path: see `load_explainer`.
    """
    if is_hub_name(name_or_path):
        return read_checkpoint(fetch(str(name_or_path)))
    return read_export(name_or_path) if is_export(name_or_path) else read_checkpoint(name_or_path)


def load_explainer(name_or_path: str | Path, backbone: str | Path | None = None) -> AmortizedExplainer:
    """A trained explainer, ready to explain; needs neither the black box nor data, and runs no code from the file.

    Args:
        name_or_path: shipped name, a .ckpt of `fex-train`, an exported .safetensors, a run's folder, an .onnx or .xml
            of `fex-export`, or hf://owner/name of the hub (with @revision behind it, that one).
        backbone: local file of the weights that the explainer stands on, where its file leaves them out
            (`fex_vit_tiny`); by default those of timm's hub.

    Raises:
        FileNotFoundError: nothing there; lists the shipped names.
        ConnectionError: the hub cannot be reached, and has not given the file before.
        ImportError: an .onnx or .xml whose runtime is not installed.
        ValueError: not a checkpoint of an explainer, or one that does not fit.
    """
    return build_explainer(*read_explainer(name_or_path), source=str(name_or_path), backbone=backbone)


def build_explainer(
    tensors: dict[str, Tensor], meta: dict[str, Any], *, source: str, backbone: str | Path | None = None
) -> AmortizedExplainer:
    """The explainer of what `read_explainer` gave.

    Args:
        tensors: weights, or the files of an export.
        meta: description.
        source: what errors call it.
        backbone: see `load_explainer`.

    Raises:
        ValueError: weights or a description that do not fit; a modality whose package was not imported.
    """
    modality = modality_of(meta.get("modality", "image"))
    kind = modality.explainer or AmortizedExplainer
    if backbone is not None and "trunk" not in meta:
        raise ValueError(f"{source} holds all its weights: leave `backbone` ({backbone}) out.")
    with building(tensors, source):
        if meta.get("kind") == "export":
            return kind(ExportedNet(tensors, meta, modality.features(meta), source), meta, source)
        # Checkpoints of before the key was written learnt exclusive classes, whatever their box was.
        labels = bool(meta.get("multi_label", False))
        net = rebuild(meta["net"], len(meta["class_names"]), modality.features(meta), multi_label=labels)
        weights, whole = modality.complete(net, tensors, meta, backbone)
        load_state(net, weights, source=source)
        net.encoder.merge()
        return kind(net, whole, source)
