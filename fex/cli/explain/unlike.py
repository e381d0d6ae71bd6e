"""How a run that is to go on differs from the one that began, in words."""

from collections.abc import Mapping
from typing import Any

__all__ = ["unlike"]

# What is kept as hashes, which say nothing to anybody.
_HASHED = {
    "checkpoint": "another checkpoint",
    "files of --black-box and --backbone": "other files of --black-box or --backbone",
    "weights of --black-box": "other weights of --black-box",
    "choice of --refine-total": "another choice of inputs to refine",
    "version": "another version of fex",
}


def unlike(there: Mapping[str, Any] | None, here: Mapping[str, Any]) -> str:
    """What differs between the settings of two runs, see `resume_settings`; "" where they are equal.

    Example:
        >>> unlike({"top_k": 1, "checkpoint": "ab"}, {"top_k": 2, "checkpoint": "cd"})
        'another checkpoint than it began with; --top-k was 1, now it is 2'
    """
    there = there or {}
    names = [name for name in sorted(there.keys() | here.keys()) if there.get(name) != here.get(name)]
    return "; ".join(
        f"{_HASHED[name]} than it began with"
        if name in _HASHED
        else f"{_flag(name)} was {_value(there.get(name))}, now it is {_value(here.get(name))}"
        for name in names
        if not (name in _HASHED and any(_flag(other) in name for other in names))  # told by that flag
    )


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _value(value: Any) -> str:
    if value in (None, False):
        return "not given"
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
