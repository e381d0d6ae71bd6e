"""What of a benchmark's config can be told to be wrong before anything is spent on it."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from fex.benchmark.setting import Candidate
from fex.black_box import BlackBox
from fex.metrics.protocols import PROTOCOLS, get_protocol

__all__ = ["bring_to", "check_selected", "check_shown", "check_writable", "chosen_methods", "strangers"]


def chosen_methods(methods: Mapping[str, Any], only: list[str] | None) -> dict[str, Any]:
    """Methods that run: all, or those that `only` names.

    Raises:
        ValueError: a name that the config has not.
    """
    return {name: methods[name] for name in (methods if only is None else _rejoined(only, methods))}


def _rejoined(parts: Sequence[str], methods: Mapping[str, Any]) -> list[str]:
    """Names from a list that YAML has split at commas, of which a name may have some: "IG (20 steps, white box)"."""
    names, start = [], 0
    while start < len(parts):
        ends = range(len(parts), start, -1)
        end = next((end for end in ends if ", ".join(parts[start:end]) in methods), None)
        if end is None:
            raise ValueError(f"The config has no method {parts[start]!r}; it has {', '.join(map(repr, methods))}.")
        names.append(", ".join(parts[start:end]))
        start = end
    return names


def check_selected(only: list[str] | None, keys: Sequence[str], methods: Mapping[str, Any]) -> None:
    """A setting of a method that does not run would change nothing.

    Args:
        only: names of the methods that run, as given; None for all.
        keys: settings, NAME.KEY.
        methods: of the config, by name.

    Raises:
        ValueError: such a setting.
    """
    chosen = chosen_methods(methods, only)
    for key in keys:
        name = max((name for name in methods if key.startswith(f"{name}.")), key=len)
        if name not in chosen:
            raise ValueError(f"--methods.{key} sets something of {name}, which is not among those that run.")


def check_shown(show: Sequence[str] | None, protocols: Sequence[str]) -> None:
    """Some of the metrics to be printed are of this run's protocols, all are of some protocol.

    Raises:
        ValueError: they are not, or there is no such protocol.
    """
    if not protocols:
        raise ValueError("There is no protocol to score by: name some under `protocols`.")
    own = dict.fromkeys(metric for name in protocols for metric in get_protocol(name).summaries)
    if show is None:
        return
    known = {metric for protocol in PROTOCOLS.values() for metric in protocol.summaries}
    unknown = [name for name in show if name not in known]
    if unknown or not set(show) & set(own):
        raise ValueError(f"--show names {', '.join(unknown or show)}; the protocols of this run have {', '.join(own)}.")


def check_writable(folder: Path) -> None:
    """Makes a folder in which the report can be written: hours later it would be too late to say so.

    Raises:
        OSError: it cannot.
    """
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"--output {folder} is a file: give the folder of the report.")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):
        pass


def bring_to(black_box: BlackBox, device: str) -> None:
    """Moves the box.

    Raises:
        ValueError: there is no such device.
    """
    try:
        torch.empty(0, device=device)  # some boxes only note where they are asked
        black_box.to(device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:  # as torch says it of what is not there
        raise ValueError(f"--device {device} cannot be used: {error}") from error


def strangers(candidates: Sequence[Candidate], black_box: BlackBox) -> list[str]:
    """Warnings of explainers that were trained for another box than the one that is explained."""
    own = {each.name: getattr(each.explainer, "black_box", None) for each in candidates}
    return [
        f"{name} was trained to explain {box} and here explains {black_box.name}: if these are not the same "
        "classifier, its row says how far an explanation of the one carries over to the other."
        for name, box in own.items()
        if isinstance(box, str) and box != black_box.name
    ]
