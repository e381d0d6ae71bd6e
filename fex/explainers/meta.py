"""What an explainer's file says beside the weights."""

from typing import Any

from fex.black_box.base import BlackBox
from fex.modality import Removal
from fex.nets import ClassMapNet

__all__ = ["explainer_meta"]


def explainer_meta(net: ClassMapNet, black_box: BlackBox, removal: Removal, method: str = "FEX") -> dict[str, Any]:
    """Plain data that, with the weights, is a whole explainer."""
    return {
        "kind": "explainer",
        "method": method,
        "net": net.init_args,
        "modality": net.features.modality,
        "grid": list(net.features.grid) if net.features.grid else None,
        "class_names": list(black_box.class_names),
        "multi_label": net.multi_label,
        "preprocess": black_box.preprocess.to_dict(),
        "black_box": black_box.name,
        "removal": removal.name,
        "adapter_args": getattr(net.encoder, "adapter_args", None) if getattr(net.encoder, "base", None) else None,
    }
