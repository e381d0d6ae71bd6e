"""Reading and exporting the checkpoints of explainers."""

import pickle
import re
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fex.storage.description import check_description
from fex.storage.resources import made_by, manifest, shipped_path
from fex.storage.weights import load_weights

__all__ = ["check_zip", "newest_checkpoint", "read_checkpoint", "read_plain"]

# What torch.load raises for a file that is cut off, changed, or no checkpoint.
_DAMAGED = (
    pickle.UnpicklingError, RuntimeError, EOFError, OSError, LookupError, ValueError, TypeError, AttributeError,
    MemoryError, ArithmeticError, AssertionError, zipfile.BadZipFile, NotImplementedError,
)  # fmt: skip


def check_zip(path: str | Path) -> None:
    """Reads all of a zip file, as torch and NumPy write them, and compares it with its own checksums.

    Raises:
        zipfile.BadZipFile: something has changed since it was written, or its parts are packed, so that a small file
            might become one without end.
    """
    with zipfile.ZipFile(path) as file:
        packed = [each.filename for each in file.infolist() if each.compress_type != zipfile.ZIP_STORED]
        changed = packed[0] if packed else file.testzip()
    if changed is not None:
        raise zipfile.BadZipFile(f"{changed} is {'packed' if packed else 'changed'}")


def read_plain(path: str | Path) -> Any:
    """What `torch.save` wrote to `path`: tensors on the CPU and plain data; no code of the file is run.

    Raises:
        FileNotFoundError: nothing there.
        ValueError: no such file, a damaged one, or one with more than plain data.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"Found no checkpoint at {path}.{made_by(Path(path))}")
    try:
        check_zip(path)  # torch compares no checksums
        return torch.load(path, map_location="cpu", weights_only=True)
    except _DAMAGED as error:
        # torch's own text advises to let the file run its code.
        reason = "it is cut off, damaged or no checkpoint"
        if isinstance(error, pickle.UnpicklingError):
            reason = "it holds more than tensors and plain data, or is damaged"
        raise ValueError(
            f"{path} could not be read as a checkpoint without running code from it ({reason}). Give a checkpoint "
            "written by fex-train."
        ) from error


def newest_checkpoint(folder: Path) -> Path:
    """The newest checkpoint of the one run below `folder`: its `last.ckpt`, or else the one of the most steps.

    Raises:
        FileNotFoundError: there is none.
        ValueError: there are those of several runs, or several of as many steps; lists them.
    """
    found = sorted(folder.rglob("*.ckpt"))
    if not found:
        raise FileNotFoundError(f"Found no checkpoint (*.ckpt) in {folder}.{made_by(folder)}")
    last = [path for path in found if re.fullmatch(r"last(-v\d+)?", path.stem)]  # last-v1 is a second run's
    if len({path.parent for path in found}) > 1 or len(last) > 1:
        raise ValueError(f"{folder} holds the checkpoints of several runs: {_listed(found)}. Give one of them.")
    if len(found) == 1 or last:
        return (last or found)[0]
    steps = {path: _steps(path) for path in found}
    newest = [path for path in found if steps[path] == max(steps.values())]
    if len(newest) > 1:
        raise ValueError(f"{folder} holds several checkpoints of as many steps: {_listed(newest)}. Give one of them.")
    return newest[0]


def _steps(path: Path) -> int:
    """Optimiser steps that a checkpoint was trained for; -1 where it does not say."""
    content = read_plain(path)
    steps = content.get("global_step") if isinstance(content, dict) else None
    return steps if isinstance(steps, int) else -1


def _listed(paths: list[Path], most: int = 10) -> str:
    more = f" and {len(paths) - most} more" if len(paths) > most else ""
    return f"{', '.join(map(str, paths[:most]))}{more}"


def read_checkpoint(name_or_path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Weights of an explainer and its description (`fex.explainers.explainer_meta`); no code of the file is run.

    Args:
        name_or_path: shipped name, a .ckpt of `fex-train`, an exported .safetensors, or a run's folder.

    Raises:
        FileNotFoundError: nothing there; lists the shipped names.
        ValueError: not a checkpoint of an explainer, or a folder with those of several runs.
    """
    path = shipped_path(str(name_or_path)) or Path(name_or_path)
    if path.is_dir():
        path = newest_checkpoint(path)
    if not path.is_file():
        known = [name for name, entry in manifest().items() if entry["kind"] == "explainer"]
        raise FileNotFoundError(
            f"Found no checkpoint at {path}; shipped explainers: {', '.join(known) or 'none'}.{made_by(path)}"
        )
    if path.suffix == ".safetensors":
        tensors, meta = load_weights(path)
        known = manifest().get(str(name_or_path), {})
        learnt = ("training", "agreement", "trust", "fidelity", "foresight")
        meta = {**meta, **{key: known[key] for key in learnt if key in known}}
    else:
        checkpoint = read_plain(path)
        meta = checkpoint.get("fex") if isinstance(checkpoint, dict) else None
        if meta is None or not isinstance(checkpoint.get("state_dict"), dict):
            raise ValueError(f"{path} is no FEX checkpoint (it has no `fex` entry): give one written by fex-train.")
        check_description(meta, str(path))
        prefix, weights = "explainer.", checkpoint["state_dict"].items()
        tensors = {k.removeprefix(prefix): v for k, v in weights if str(k).startswith(prefix)}
        strange = [key for key, value in tensors.items() if not isinstance(value, Tensor)]
        if strange:
            raise ValueError(f"{path} has {strange[0]!r} as weights, which is no tensor: give a file of fex-train.")
    if meta.get("kind") != "explainer":
        raise ValueError(f"{path} holds a {meta.get('kind')!r}, expected an explainer: use fex.load_black_box for it.")
    return tensors, meta
