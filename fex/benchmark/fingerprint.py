"""What a result depends on, as one hash: a result is used again only where nothing of it has changed."""

import hashlib
import importlib.util
import json
import re
import sys
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache, partial
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import fex
from fex.benchmark.sources import own_sources
from fex.hub import fetch, is_hub_name
from fex.storage.resources import manifest

__all__ = ["code_fingerprint", "fingerprint", "package_versions", "referenced_files"]

_WEIGHTS = (".ckpt", ".safetensors", ".pth", ".pt", ".bin", ".onnx", ".xml")
_FUNCTION = re.compile(r"[^\W\d][\w.]*[.:][^\W\d]\w*")  # package.module.Class or package.module:function
# Of these parts of the package no number of a result depends.
_OUTSIDE = ("cli/", "report/", "benchmark/report/", "benchmark/speed/")
_PACKAGES = (
    "torch", "torchvision", "timm", "transformers", "captum", "numpy", "scikit-image", "peft",
    "onnxruntime", "openvino", "segmentation-models-pytorch", "fex-explain",
)  # fmt: skip


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Tensor):
        return _by_content(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    if isinstance(value, partial):
        return ["partial", _plain([value.func, value.args, value.keywords])]
    kind = f"{type(value).__module__}.{type(value).__qualname__}"
    if is_dataclass(value) and not isinstance(value, type):
        return [kind, {each.name: _plain(getattr(value, each.name)) for each in fields(value)}]
    if hasattr(value, "__qualname__"):
        return _by_name(value)
    if hasattr(value, "__dict__"):
        return [kind, _plain(vars(value))]
    raise TypeError(f"Got {kind}, of which no fingerprint is known: give plain data, tensors or dataclasses.")


def _by_content(value: Tensor) -> list[Any]:
    content = value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy()
    return ["tensor", str(value.dtype), list(value.shape), hashlib.blake2b(content.data).hexdigest()]


def _by_name(value: Any) -> list[str]:
    """A function or a class."""
    if "<" in value.__qualname__:  # two such functions may have one name
        raise TypeError(f"Got {value.__qualname__}, of which no fingerprint is known: give a function of a module.")
    return [value.__module__, value.__qualname__]


def fingerprint(value: Any) -> str:
    """Hash of plain data, tensors, dataclasses and objects made of them: 64 hexadecimal digits.

    Raises:
        TypeError: something else.

    Example:
        >>> fingerprint({"a": 1, "b": [2.0]}) == fingerprint({"b": [2.0], "a": 1})
        True
    """
    text = json.dumps(_plain(value), sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


@cache
def _file_hash(path: Path, size: int, changed: int) -> str:  # noqa: ARG001 a changed file is read again
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**22):
            digest.update(block)
    return digest.hexdigest()


def _hash(path: Path) -> str:
    status = path.stat()
    return _file_hash(path, status.st_size, status.st_mtime_ns)


@cache
def code_fingerprint() -> str:
    """Hash of the package's own source, without command line and reports."""
    root = Path(fex.__file__).parent
    sources = [p for p in sorted(root.rglob("*.py")) if not p.relative_to(root).as_posix().startswith(_OUTSIDE)]
    return fingerprint({str(path.relative_to(root)): _hash(path) for path in sources})


def package_versions() -> dict[str, str]:
    """Installed versions of what numbers depend on."""
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def referenced_files(config: Any) -> dict[str, str]:
    """Hashes of the files that the strings of a config name.

    That is: shipped weights, files, folders (of weights and their config.json), and the modules of class paths and
    functions outside this package, with those of one's own that they import.

    Args:
        config: plain data.
    """
    found: dict[str, str] = {}

    def visit(value: Any) -> None:
        if isinstance(value, Mapping):
            for each in value.values():
                visit(each)
        elif isinstance(value, (list, tuple)):
            for each in value:
                visit(each)
        elif isinstance(value, (str, Path)):
            found.update(_of_name(str(value)))

    visit(config)
    return dict(sorted(found.items()))


def _of_name(name: str) -> dict[str, str]:
    if name in manifest():
        return {name: manifest()[name]["sha256"]}
    if is_hub_name(name):  # what it stands for may change there
        return {name: _hash(fetch(name))}
    path = Path(name)
    if len(name) < 4096 and "\n" not in name and path.exists():
        if path.is_file():
            # An ONNX model may keep its weights in files beside it, which it names itself.
            beside = sorted(path.parent.glob("*.onnx_data")) if path.suffix == ".onnx" else []
            beside += [each for end in (".data", "_data") if (each := Path(f"{path}{end}")).is_file()]
            beside += [path.with_suffix(".bin")] if path.suffix == ".xml" and path.with_suffix(".bin").is_file() else []
            return {str(each): _hash(each) for each in dict.fromkeys([Path(name), *beside])}
        parts = [p for p in path.rglob("*") if p.is_file() and (p.suffix in _WEIGHTS or p.name == "config.json")]
        return {str(part): _hash(part) for part in sorted(parts)}
    if _FUNCTION.fullmatch(name) and not name.startswith("fex."):
        module = name.partition(":")[0] if ":" in name else name.rpartition(".")[0]
        try:
            spec = importlib.util.find_spec(module)
        except (ImportError, ValueError):
            return {}
        if spec is not None and spec.origin is not None and Path(spec.origin).is_file():
            files = {**own_sources(module, Path(spec.origin)), **_defined_in(module, name)}
            return {name: _hash(path) for name, path in files.items()}
    return {}


def _defined_in(module: str, name: str) -> dict[str, Path]:
    """The file that a class or function really comes from, where `module` has it from another, if it is imported."""
    found = getattr(sys.modules.get(module), re.split(r"[.:]", name)[-1], None)
    origin = sys.modules.get(getattr(found, "__module__", None) or "")
    path = getattr(origin, "__file__", None)
    return {origin.__name__: Path(path)} if origin is not None and path and Path(path).is_file() else {}
