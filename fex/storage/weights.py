"""Weights as safetensors with plain-data metadata: nothing in such a file is ever executed, and damage is seen."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor, nn

from fex.storage.atomic import replacing
from fex.storage.description import check_description

__all__ = ["ForeignWeightsError", "digest_of", "load_state", "load_weights", "save_black_box", "save_weights"]

FORMAT = "fex/2"


class ForeignWeightsError(ValueError):
    """Not a file that this project has written, as far as its head can be read."""


def save_weights(path: str | Path, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
    """Writes `tensors` (floating ones as bfloat16), `meta` (plain data) and a digest of both to `path`, atomically."""
    packed = {}
    for name, tensor in tensors.items():
        tensor = tensor.detach().cpu()
        packed[name] = (tensor.bfloat16() if tensor.is_floating_point() else tensor).contiguous().clone()
    text = json.dumps(dict(meta))
    header = {"format": FORMAT, "meta": text, "digest": digest_of(packed, text)}
    with replacing(path) as part:
        part.write_bytes(save(packed, metadata=header))


def digest_of(tensors: Mapping[str, Tensor], text: str) -> str:
    """SHA-256 of description, names, types, shapes and contents."""
    digest = hashlib.sha256(text.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        digest.update(tensor.contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def load_weights(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors (floating ones as float32) and metadata of a file by `save_weights`.

    Raises:
        FileNotFoundError: no such file.
        ForeignWeightsError: a file by others, or one without a head.
        ValueError: a damaged file, or one of another version of fex.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"Found no weights at {path}.")
    try:
        file = safe_open(path, framework="pt")
    except Exception as error:  # the reader's own classes share no base
        raise ForeignWeightsError(
            f"{path} is cut off, damaged or no safetensors file ({error}): give weights written by fex."
        ) from error
    with file:
        header = file.metadata() or {}
        form = header.get("format", "")
        # Any of the three, so that a changed letter does not make it a file by others, which has no digest.
        if not (form.startswith("fex/") or "digest" in header or "meta" in header):
            raise ForeignWeightsError(f"{path} was not written by fex (its format is {form!r}): give one that was.")
        try:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 not a dict
        except Exception as error:  # a type that this torch does not know
            raise ValueError(f"The tensors of {path} cannot be read ({error}): it is damaged.") from error
    if form == "fex/1":
        raise ValueError(
            f"{path} was written by an earlier version of fex, without the digest that shows damage: export it again."
        )
    if form != FORMAT or header.get("digest") != digest_of(tensors, header.get("meta", "")):
        raise ValueError(
            f"{path} is damaged: its content is not what was written (the digest differs). Take it from where it came "
            "once more, or export it again."
        )
    try:
        meta = json.loads(header["meta"])
    except (ValueError, RecursionError) as error:
        raise ValueError(f"The description in {path} is no JSON ({error}): give weights written by fex.") from error
    tensors = {name: t.float() if t.is_floating_point() else t for name, t in tensors.items()}
    return tensors, check_description(meta, str(path))


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
        ValueError: names or shapes differ, or weights are not finite; says which.
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
    trained = {name for name, _ in module.named_parameters()}
    broken = sorted(name for name in trained & tensors.keys() if not tensors[name].isfinite().all())
    if broken:
        raise ValueError(
            f"The weights of {source} hold NaN or infinity in {len(broken)} tensors (first: {broken[0]}): the training "
            "that wrote them has diverged. Give those of an earlier step."
        )
    with torch.no_grad():
        module.load_state_dict(dict(tensors))
