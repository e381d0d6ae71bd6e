"""timm networks: built with errors that say what to do, and their weights from local files or shipped names."""

import difflib
import pickle
import zipfile
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors import SafetensorError
from torch import nn

import fex.nets.backbones.conv_vit  # registers conv_vit_tiny with timm
import fex.nets.backbones.mel_blstm  # noqa: F401 registers mel_blstm
from fex.storage.checkpoint import check_zip
from fex.storage.resources import made_by, manifest, shipped_path
from fex.storage.weights import ForeignWeightsError, load_weights

__all__ = ["build_timm", "in_order", "read_timm_weights"]


def build_timm(model: str, model_args: dict[str, Any] | None = None, *, pretrained: bool = False) -> nn.Module:
    """`timm.create_model`, in float32, with errors that say what to do.

    Raises:
        OSError: pretrained weights that cannot be had.
        ValueError: an unknown model or tag, or settings that it does not take.
    """
    name, _, tag = model.split("/")[-1].partition(".")
    if ":" not in model and not timm.is_model(name):
        raise ValueError(f"timm knows no model {model!r}. Closest of those it knows: {', '.join(close_models(name))}.")
    tags = [one.partition(".")[2] for one in timm.list_pretrained(f"{name}.*")] if tag and ":" not in model else []
    if tags and tag not in tags:
        raise ValueError(f"timm knows no weights {tag!r} of {name!r}. It knows: {', '.join(tags)}.")
    try:
        net = timm.create_model(model, pretrained=pretrained, **(model_args or {})).float()
    except TypeError as error:
        raise ValueError(f"timm's {model!r} does not take these model_args: {model_args} ({error}).") from error
    except (OSError, RuntimeError) as error:
        if not pretrained:
            raise
        raise OSError(
            f"Could not get the pretrained weights of {model!r} ({type(error).__name__}: {error}). Without a network, "
            "set `weights` to a local file (.safetensors, .pth, .bin) of that model."
        ) from error
    for part in net.modules():
        if hasattr(part, "attention_bias_cache"):
            part.register_forward_pre_hook(_forget_biases)
    return net


def _forget_biases(attention: Any, _inputs: object) -> None:
    """In evaluation mode, timm's LeViT, TinyViT and their like keep the attention biases of their first pass.

    Training an encoder in that mode would use them after they have changed, and go twice through one graph.
    """
    attention.attention_bias_cache.clear()


def close_models(name: str) -> list[str]:
    """Names of timm's models that begin like `name`, or else are spelt like it; at most eight."""
    known = timm.list_models()
    begin = [one for one in known if one.startswith(name)]
    close = begin + [one for one in difflib.get_close_matches(name, known, n=8, cutoff=0.5) if one not in begin]
    family = [one for one in known if one.startswith(name.split("_")[0]) and one not in close]
    return (close + family)[:8] or ["none; see timm.list_models()"]


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
        found = dict(timm.models.load_state_dict(str(path), weights_only=True))
    except (
        pickle.UnpicklingError, SafetensorError, RuntimeError, OSError, EOFError, TypeError, ValueError, LookupError,
        AttributeError, zipfile.BadZipFile,
    ) as error:  # fmt: skip
        raise ValueError(
            f"Could not read weights from {path}, expected a state dict of tensors (.safetensors, .pth, .bin); "
            f"anything else in a pickle is refused, since it could run code. The reader said: {error}"
        ) from error
    return _tensors(found, path), meta


def _tensors(found: dict[str, Any], path: Path) -> dict[str, torch.Tensor]:
    """The state dict in what a file holds: itself, or its one entry that is one, as in {"net": ..., "epoch": 3}.

    Raises:
        ValueError: none, or several.
    """
    if found and all(isinstance(value, torch.Tensor) for value in found.values()):
        return found
    inner = {
        key: value
        for key, value in found.items()
        if isinstance(value, dict) and value and all(isinstance(one, torch.Tensor) for one in value.values())
    }
    if len(inner) == 1:
        return dict(timm.models.clean_state_dict(next(iter(inner.values()))))
    raise ValueError(
        f"{path} holds {'several state dicts' if inner else 'no state dict'}; its keys: "
        f"{', '.join(map(str, inner or list(found)[:10])) or 'none'}. Save one: torch.save(net.state_dict(), ...)."
    )


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
