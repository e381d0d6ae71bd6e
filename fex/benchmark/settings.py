"""What an object was built from, as plain data, and the sources and packages that it runs."""

import hashlib
import inspect
import sys
from collections.abc import Iterable, Mapping, Set
from contextlib import suppress
from dataclasses import fields, is_dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from types import MethodType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fex.benchmark.fingerprint import fingerprint, package_versions, referenced_files
from fex.benchmark.sources import own_sources
from fex.black_box import BlackBox

__all__ = ["library_versions", "plain_settings"]

FOREIGN = ("torch", "timm", "transformers", "numpy", "builtins")  # their insides are no settings of ours
_COUNTED = ("fex", "lightning_modules", *FOREIGN, *sys.stdlib_module_names)  # by their sources or versions as a whole


def plain_settings(value: Any) -> tuple[Any, dict[str, str]]:
    """What an explainer was built from, as plain data; two that differ in a setting differ here.

    Returns:
        The data, and by module the hashes of the files that define its classes and functions (of a network those of
        its layers, of a class those of its bases too) and of what these import of one's own, but for those of this
        project and of PyTorch's world.

    Example:
        >>> from fex.dax import SLIC
        >>> plain_settings(SLIC(count=20))
        ({'class': 'fex.dax.segmenters.SLIC', 'compactness': 10.0, 'count': 20}, {})
    """
    reader = _Reader()
    return reader.plain(value), _sources(reader.kinds)


def library_versions() -> dict[str, str]:
    """Installed versions of what the numbers of a run over instances depend on; this package counts by its sources."""
    found = {name: version for name, version in package_versions().items() if name != "fex-explain"}
    with suppress(metadata.PackageNotFoundError):
        found["scipy"] = metadata.version("scipy")  # scikit-image's segments are smoothed by it
    return dict(sorted(found.items()))


# Of a box: how fast it answers and how often it did are no settings; its network is told by its weights; headers may
# have secrets.
_NO_SETTINGS = (
    "queries", "hits", "chunk", "compile", "device", "threads", "module", "headers", "request_size", "concurrency",
)  # fmt: skip


class _Reader:
    """Reads objects as plain data; remembers the classes and functions that it meets.

    Attributes:
        kinds: those classes and functions.
    """

    def __init__(self) -> None:
        self.kinds: set[Any] = set()
        self._open: set[int] = set()  # what is being read: an object may hold itself

    def plain(self, value: Any) -> Any:
        """Any object."""
        if value is None or isinstance(value, (bool, int, float, str)):
            return value
        if id(value) in self._open:
            return "itself"
        self._open.add(id(value))
        try:
            simple = _simple(value)
            return self._object(value) if simple is None else simple
        finally:
            self._open.discard(id(value))

    def _object(self, value: Any) -> Any:
        if isinstance(value, (list, tuple)):
            return [self.plain(item) for item in value]
        if isinstance(value, (Mapping, Set)):
            return self._unordered(value)
        if isinstance(value, BlackBox):
            return self._box(value)
        if isinstance(value, (partial, type)) or inspect.isroutine(value):
            return self._code(value)
        if isinstance(value, torch.nn.Module):
            return {"class": self._network(value), "weights": fingerprint(dict(value.state_dict()))}
        if type(value).__module__.split(".")[0] in FOREIGN:  # a pipeline is told by its model
            return [type(value).__name__, self.plain(getattr(value, "model", None))]
        names = [f.name for f in fields(value)] if is_dataclass(value) else sorted(getattr(value, "__dict__", {}))
        return {"class": self._name(type(value)), **{name: self.plain(getattr(value, name)) for name in names}}

    def _code(self, value: Any) -> Any:
        """What can be called; an object that can be is told by its class alone."""
        if isinstance(value, partial):
            return [self.plain(part) for part in (value.func, value.args, value.keywords)]
        return self._name(value if isinstance(value, type) or inspect.isroutine(value) else type(value))

    def _name(self, kind: Any) -> str:
        """A class, a function or a method, of which the object is no setting."""
        self.kinds.add(type(kind.__self__) if isinstance(kind, MethodType) else kind)
        return f"{getattr(kind, '__module__', None)}.{getattr(kind, '__qualname__', type(kind).__qualname__)}"

    def _network(self, network: torch.nn.Module) -> str:
        self.kinds |= {type(layer) for layer in network.modules()}
        return self._name(type(network))

    def _unordered(self, value: Any) -> Any:
        """A mapping or a set, by its hash: what keys and values say may be secret, as that of headers is."""
        pairs = value.items() if isinstance(value, Mapping) else [(each, None) for each in value]
        return fingerprint(sorted(fingerprint([self.plain(key), self.plain(each)]) for key, each in pairs))

    def _box(self, box: BlackBox) -> Any:
        """What its answers depend on as far as this side knows, with the content of files and functions it names."""
        found: dict[str, Any] = {"class": self._name(type(box))}
        for name, value in sorted(vars(box).items()):
            if not name.startswith("_") and name not in _NO_SETTINGS:
                found[name] = self.plain(value)
            elif name.startswith("_") and callable(value):  # such as the function that is asked
                found[name] = self._code(value)
        with suppress(TypeError):  # of a box that can only be queried
            found["network"] = self._network(box.module)
        named = {name: found[name] for name in ("path", "model") if name in found}
        return {**found, "files": referenced_files(named)}


def _simple(value: Any) -> Any:
    """What one word says; None of anything else."""
    if isinstance(value, (Path, torch.dtype)):
        return str(value)
    if isinstance(value, np.generic):
        return repr(value.item())
    if isinstance(value, np.ndarray) and value.dtype != object:
        return fingerprint([str(value.dtype), list(value.shape), hashlib.sha256(value.tobytes()).hexdigest()])
    return fingerprint(value) if isinstance(value, Tensor) else None


def _sources(kinds: Iterable[Any]) -> dict[str, str]:
    """Hashes of the files of classes and functions, by module; none of what was typed in or has no file."""
    found = {}
    for kind in kinds:
        for each in inspect.getmro(kind) if isinstance(kind, type) else (kind,):
            module = getattr(each, "__module__", None) or ""
            path = getattr(sys.modules.get(module), "__file__", None)
            known = module in found  # and with it all that it imports
            if path and not known and Path(path).is_file() and module.split(".")[0] not in _COUNTED:
                for name, file in own_sources(module, Path(path)).items():
                    found[name] = referenced_files([str(file)])[str(file)]
    return dict(sorted(found.items()))
