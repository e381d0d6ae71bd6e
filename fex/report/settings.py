"""What an object was built from, as plain data."""

from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor

from fex.benchmark.fingerprint import fingerprint
from fex.black_box import BlackBox

__all__ = ["plain_settings"]

FOREIGN = ("torch", "timm", "transformers", "numpy", "builtins")  # their insides are no settings of ours


def plain_settings(value: Any) -> Any:
    """What an explainer was built from, as plain data; two that differ in a setting differ here."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)):
        return [plain_settings(item) for item in value]
    if isinstance(value, BlackBox):
        return value.name
    if isinstance(value, Tensor):
        return fingerprint(value)
    if isinstance(value, torch.nn.Module):
        return {"class": type(value).__name__, "weights": fingerprint(dict(value.state_dict()))}
    if type(value).__module__.split(".")[0] in FOREIGN:  # a pipeline is told by its model
        return [type(value).__name__, plain_settings(getattr(value, "model", None))]
    names = [f.name for f in fields(value)] if is_dataclass(value) else sorted(getattr(value, "__dict__", {}))
    return {"class": type(value).__name__, **{name: plain_settings(getattr(value, name)) for name in names}}
