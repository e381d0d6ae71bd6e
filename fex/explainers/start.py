"""What a trained explainer started from: the class evidence of its backbone, before any query was asked."""

from pathlib import Path
from typing import Any

import torch

from fex.explainers.loading import build_explainer
from fex.explainers.trained import AmortizedExplainer
from fex.nets import BaseEncoder, ClassMapNet
from fex.storage.checkpoint import read_checkpoint
from fex.storage.weights import load_state
from fex.texts.lora import is_adapter

__all__ = ["begin_as", "load_start"]

_LEARNT = (
    "training",
    "agreement",
    "trust",
    "fidelity",
    "foresight",
)  # what a description says of the trained explainer alone


def load_start(
    name_or_path: str | Path, weights: str | None = None, backbone: str | Path | None = None
) -> AmortizedExplainer:
    """The explainer of a checkpoint as it was before its training: a row for tables, of what training has to beat.

    Its map of class y is gate (e(n, y) - mean_n e(n, y)), with the backbone's evidence e and the gate at which
    `ClassMapNet` starts: of a CNN its class activation map. A frozen backbone, and what adapters of LoRA stand on, are
    in the checkpoint as they were.

    Args:
        name_or_path: as of `load_explainer`.
        weights: of a backbone that was trained as a whole, as they were before: a local file or a shipped name; of a
            network of transformers a folder.
        backbone: see `load_explainer`.

    Raises:
        FileNotFoundError: nothing there.
        ValueError: an explainer whose maps start flat; a backbone that was trained, without `weights`; a checkpoint
            that does not fit.
    """
    tensors, meta = read_checkpoint(name_or_path)
    meta = {key: value for key, value in meta.items() if key not in _LEARNT}
    before = {name: torch.zeros_like(value) if ".lora_B." in name else value for name, value in tensors.items()}
    explainer = build_explainer(
        before,
        {**meta, "method": f"{meta.get('method')} before training"},
        source=str(name_or_path),
        backbone=backbone,
    )
    net = explainer.net
    if net.encoder.class_weight is None:
        raise ValueError(
            f"The maps of {name_or_path} start flat: its encoder keeps no classifier (class_head), so there is nothing "
            "to compare it with. Leave this row out."
        )
    given = net.encoder.init_args
    if weights is not None:
        net.encoder = _original(net.encoder, weights)
    elif not (given.get("frozen") or given.get("lora_rank")):
        raise ValueError(
            f"The backbone of {name_or_path} was trained as a whole, so that the checkpoint does not know what it was: "
            "set `weights` to those that the training started from."
        )
    net.build(net.num_classes, net.features, multi_label=net.multi_label)  # all heads anew, which is where they start
    net.eval().requires_grad_(requires_grad=False)
    return explainer


_SAME = ("net", "grid", "modality", "class_names", "multi_label", "preprocess", "black_box")  # of a description


def begin_as(net: ClassMapNet, meta: dict[str, Any], name_or_path: str | Path | None) -> None:
    """Gives a network the weights of a trained explainer of the same kind, from which its own training goes on.

    Args:
        net: built; a backbone that the file leaves out stays the one it has.
        meta: its description, see `fex.explainers.explainer_meta`.
        name_or_path: shipped name, a .ckpt of `fex-train`, an exported .safetensors or a run's folder;
            None leaves the network as it is.

    Raises:
        FileNotFoundError: nothing there.
        ValueError: an explainer of another network, box, grid or classes.
    """
    if name_or_path is None:
        return
    tensors, found = read_checkpoint(name_or_path)
    other = [key for key in _SAME if found.get(key) != meta[key]]
    if other:
        told = "; ".join(f"{key} is {str(found.get(key))[:200]} there, {str(meta[key])[:200]} here" for key in other)
        raise ValueError(f"{name_or_path} is no start for this explainer: {told}. Train one with the same settings.")
    kept = {name: value for name, value in net.state_dict().items() if not is_adapter(name)} if "trunk" in found else {}
    load_state(net, {**kept, **tensors}, source=str(name_or_path))


def _original(encoder: BaseEncoder, weights: str) -> Any:
    """The same encoder with the weights of its backbone from a file or folder that the user names."""
    given = dict(encoder.init_args)
    if given.pop("config", None) is not None:  # of transformers
        return type(encoder)(weights, **given)  # type: ignore[arg-type]
    return type(encoder)(weights=weights, **given)  # type: ignore[call-arg]
