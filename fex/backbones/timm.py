"""timm networks: built with errors that say what to do, and their weights from local files or shipped names."""

import pickle
import zipfile
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors import SafetensorError
from torch import nn

import fex.backbones.conv_vit  # registers conv_vit_tiny with timm
import fex.backbones.mel_blstm  # noqa: F401 registers mel_blstm
from fex.checkpoint import check_zip
from fex.resources import made_by, manifest, shipped_path
from fex.weights import ForeignWeightsError, load_weights

__all__ = ["build_timm", "in_order", "read_timm_weights"]


def build_timm(model: str, model_args: dict[str, Any] | None = None, *, pretrained: bool = False) -> nn.Module:
    """`timm.create_model` with errors that say what to do."""
    if not timm.is_model(model.split(":")[-1].split("/")[-1].split(".")[0]) and ":" not in model:
        close = timm.list_models(f"*{model.split('_')[0]}*")[:8]
        raise ValueError(
            f"timm knows no model {model!r}. Some it knows: {', '.join(close) or 'see timm.list_models()'}."
        )
    try:
        return timm.create_model(model, pretrained=pretrained, **(model_args or {}))
    except (OSError, RuntimeError) as error:
        if not pretrained:
            raise
        raise OSError(
            f"Could not get the pretrained weights of {model!r} ({type(error).__name__}: {error}). Without a network, "
            "set `weights` to a local file (.safetensors, .pth, .bin) of that model."
        ) from error


def read_timm_weights(weights: str | Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Tensors and metadata of a local file or a shipped name; files from elsewhere have no metadata."""
    path = shipped_path(str(weights)) or Path(weights)
    if not path.is_file():
        raise FileNotFoundError(
            f"Found no weights at {path}, and none are shipped by that name; shipped: {', '.join(sorted(manifest()))}."
            f"{made_by(path)}"
        )
    meta = manifest().get(str(weights), {}).get("meta", {})
    if path.suffix == ".safetensors":
        try:
            return load_weights(path)
        except ForeignWeightsError:
            pass  # of timm itself
    try:
        if zipfile.is_zipfile(path):  # torch itself compares no checksums
            check_zip(path)
        return dict(timm.models.load_state_dict(str(path), weights_only=True)), meta
    except (
        pickle.UnpicklingError, SafetensorError, RuntimeError, OSError, EOFError, TypeError, ValueError, LookupError,
        AttributeError, zipfile.BadZipFile,
    ) as error:  # fmt: skip
        raise ValueError(
            f"Could not read weights from {path}, expected a state dict of tensors (.safetensors, .pth, .bin); "
            f"anything else in a pickle is refused, since it could run code. The reader said: {error}"
        ) from error


def in_order(module: nn.Module, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same tensors under this module's names, where only the names differ (a port of the same network)."""
    own = module.state_dict()
    if set(own) == set(tensors):
        return tensors
    counters = "num_batches_tracked"
    given = [tensor for name, tensor in tensors.items() if counters not in name]
    names = [name for name in own if counters not in name]
    if [tuple(own[name].shape) for name in names] != [tuple(tensor.shape) for tensor in given]:
        return tensors  # load_state names the mismatch
    return {**{name: own[name] for name in own if counters in name}, **dict(zip(names, given, strict=True))}
