"""Weights as safetensors with plain-data metadata: nothing in such a file is ever executed."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

__all__ = ["load_weights", "save_black_box", "save_weights"]

FORMAT = "fex/1"


def save_weights(path: str | Path, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
    """Writes `tensors` (floating ones as bfloat16) and `meta` (plain data) to `path`, atomically."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    packed = {}
    for name, tensor in tensors.items():
        tensor = tensor.detach().cpu()
        packed[name] = (tensor.bfloat16() if tensor.is_floating_point() else tensor).contiguous().clone()
    part = path.with_name(path.name + ".part")
    save_file(packed, part, metadata={"format": FORMAT, "meta": json.dumps(dict(meta))})
    os.replace(part, path)


def load_weights(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors (floating ones as float32) and metadata of a file by `save_weights`.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not such a file.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"Found no weights at {path}.")
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 not a dict
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} is no safetensors file ({error}): give weights written by fex.") from error
    if header.get("format") != FORMAT:
        found = header.get("format")
        raise ValueError(f"{path} has format {found!r}, expected {FORMAT!r}: give weights written by fex.")
    tensors = {name: t.float() if t.is_floating_point() else t for name, t in tensors.items()}
    return tensors, json.loads(header["meta"])


def save_black_box(path: str | Path, net: nn.Module, meta: Mapping[str, Any]) -> None:
    """Writes a trained classifier so that `load_black_box(path)` restores it.

    Args:
        path: file ending in .safetensors.
        net: the timm network.
        meta: model, model_args, class_names, preprocess, mean, std.
    """
    save_weights(path, net.state_dict(), {"kind": "black_box", **meta})


def load_state(module: nn.Module, tensors: Mapping[str, Tensor], *, source: str) -> None:
    """Loads `tensors` into `module`, strictly.

    Raises:
        ValueError: names or shapes differ; says which.
    """
    own = module.state_dict()
    missing, extra = sorted(set(own) - set(tensors)), sorted(set(tensors) - set(own))
    shapes = [
        f"{name} is {tuple(tensors[name].shape)} there, {tuple(own[name].shape)} here"
        for name in own.keys() & tensors.keys()
        if own[name].shape != tensors[name].shape
    ]
    if missing or extra or shapes:
        parts = []
        if missing:
            parts.append(f"{len(missing)} tensors are missing there (first: {missing[0]})")
        if extra:
            parts.append(f"{len(extra)} are unknown here (first: {extra[0]})")
        if shapes:
            parts.append(f"{len(shapes)} differ in shape (first: {sorted(shapes)[0]})")
        raise ValueError(
            f"The weights of {source} do not fit {type(module).__name__}: {'; '.join(parts)}. "
            "Give weights of the same model and settings."
        )
    with torch.no_grad():
        module.load_state_dict(dict(tensors))
