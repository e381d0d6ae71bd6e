"""What a trained explainer started from: the class evidence of its backbone, before any query was asked."""

from pathlib import Path
from typing import Any

import torch

from fex.explainers.loading import build_explainer
from fex.explainers.trained import AmortizedExplainer
from fex.nets import BaseEncoder
from fex.storage.checkpoint import read_checkpoint

__all__ = ["load_start"]

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


def _original(encoder: BaseEncoder, weights: str) -> Any:
    """The same encoder with the weights of its backbone from a file or folder that the user names."""
    given = dict(encoder.init_args)
    if given.pop("config", None) is not None:  # of transformers
        return type(encoder)(weights, **given)  # type: ignore[arg-type]
    return type(encoder)(weights=weights, **given)  # type: ignore[call-arg]
