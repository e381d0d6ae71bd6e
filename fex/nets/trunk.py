"""Explainers whose file leaves out a backbone that everybody can get: by timm's name, or from a local file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from fex.nets.timm_parts import load_backbone
from fex.texts.lora import is_adapter

__all__ = ["put_trunk", "without_trunk"]

ROOM = 0.02  # of a tensor's size: what rounding to half precision may change, and other weights do not keep


def without_trunk(tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What was trained beside a backbone that stayed as it was, and how large each tensor of the latter is.

    Args:
        tensors: of the whole explainer.
        meta: its description.

    Raises:
        ValueError: an encoder that is no timm ViT with a frozen backbone or adapters.
    """
    encoder = meta["net"]["encoder"]
    given = encoder["init_args"]
    if encoder["class_path"] != "fex.nets.ViTEncoder" or not (given.get("frozen") or given.get("lora_rank")):
        raise ValueError(
            "Only a ViTEncoder whose backbone stayed as it was (frozen, or lora_rank) can be written without it, got "
            f"{encoder['class_path']} with {given}."
        )
    sizes = {_plain(name): _size(tensor) for name, tensor in tensors.items() if not is_adapter(name)}
    kept = {name: tensor for name, tensor in tensors.items() if is_adapter(name)}
    return kept, {**meta, "trunk": sizes}


def put_trunk(
    net: nn.Module, tensors: Mapping[str, Tensor], meta: Mapping[str, Any], weights: str | Path | None
) -> dict[str, Tensor]:
    """All tensors of `net`: those of the file, and those of the backbone from timm's hub or a local file.

    Args:
        net: built, its weights not read.
        tensors: of the file.
        meta: of the file; `trunk` says how large each tensor of the backbone is.
        weights: a local file of the backbone; None asks timm's hub.

    Raises:
        OSError: the hub cannot be reached.
        ValueError: other weights than those that the explainer was trained on.
    """
    given = meta["net"]["encoder"]["init_args"]
    model, sizes = given["model"], meta["trunk"]
    try:
        path = None if weights is None else str(weights)
        found = load_backbone(model, path, given.get("model_args"), pretrained=weights is None)[0].state_dict()
    except OSError as error:
        if weights is not None:
            raise
        raise OSError(
            f"This explainer stands on timm's {model!r}, which could not be had ({type(error).__name__}). Give a local "
            f"file of its weights: load_explainer(..., backbone=FILE), or --backbone FILE."
        ) from error
    names = [name for name in net.state_dict() if not is_adapter(name)]
    known = isinstance(sizes, dict) and all(type(size) is float for size in sizes.values())
    if not known or {_plain(name) for name in names} != set(sizes):
        raise ValueError(f"The file does not say on which weights of {model!r} it stands: it is damaged.")
    for name, size in sizes.items():
        if name not in found or abs(_size(found[name]) - size) > ROOM * abs(size) + 1e-6:
            raise ValueError(
                f"This explainer was trained on other weights of {model!r}: {name!r} differs. Give those of timm's hub "
                "under that name."
            )
    return {**{name: found[_plain(name)] for name in names}, **tensors}


def _plain(name: str) -> str:
    """What timm calls a tensor of `encoder.net`, which adapters have moved."""
    return name.removeprefix("encoder.net.").replace(".base_layer.", ".")


def _size(tensor: Tensor) -> float:
    """Root of the mean square."""
    return float(tensor.float().square().mean().sqrt())
