"""What an object was built from, as plain data."""

from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fex.benchmark.fingerprint import fingerprint, referenced_files
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
        return _of_box(value)
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Tensor):
        return fingerprint(value)
    if isinstance(value, torch.nn.Module):
        return {"class": type(value).__name__, "weights": fingerprint(dict(value.state_dict()))}
    if type(value).__module__.split(".")[0] in FOREIGN:  # a pipeline is told by its model
        return [type(value).__name__, plain_settings(getattr(value, "model", None))]
    names = [f.name for f in fields(value)] if is_dataclass(value) else sorted(getattr(value, "__dict__", {}))
    return {"class": type(value).__name__, **{name: plain_settings(getattr(value, name)) for name in names}}


# Of a box: how fast it answers and how often it did are no settings; its network is told by its weights; headers may
# have secrets.
_NO_SETTINGS = (
    "queries", "hits", "chunk", "compile", "device", "threads", "module", "headers", "request_size", "concurrency",
)  # fmt: skip


def _of_box(box: BlackBox) -> Any:
    """What its answers depend on as far as this side knows, with the content of files and functions that it names."""
    found = {"class": type(box).__name__}
    for name, value in sorted(vars(box).items()):
        if not name.startswith("_") and name not in _NO_SETTINGS:
            found[name] = plain_settings(value)
    named = {name: found[name] for name in ("path", "model") if name in found}
    return {**found, "files": referenced_files(named)}
