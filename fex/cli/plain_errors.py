"""What jsonargparse reports of a value that fits none of several types, as one sentence: where, what, and why not."""

import re
import sys
from typing import Any

from fex.keywords import close_names, keywords_of

__all__ = ["plain"]

# Lines that name the types of Python that were tried, and the whole of what was given, however long.
_NOISE = re.compile(
    r"\s*(Does not validate against any of the Union subtypes|Subtypes: .*|Errors:|Given value type: .*|"
    r"- Expected a <class 'NoneType'>.*|- Expected a path but .* either not accessible or invalid|"
    r"Given value: (Namespace|NestedArg)\(.*|Given value: \{.*)$"
)
_PLACE = re.compile(r"\s*(?:- )?Parser key \"([\w.]+)\":\s*(.*)$")
_CLASS = re.compile(r"\s*(?:- )?Problem with given class_path '([\w.]+)':?\s*(.*)$")
_GIVEN = re.compile(r"\s*Given value: (.*)$")
_EXPECTED = re.compile(r"Expected an? <class '([\w.]+)'>(?:\.? Got value: (.*))?$")
_NO_ATTRIBUTE = re.compile(r"module '([\w.]+)' has no attribute '(\w+)'")
_MISSING = re.compile(r"Requirement '([\w-]+)[^']*' not met\. HINT: Try running `[^`]*`")
_EXTRAS = {"wandb": "loggers", "mlflow": "loggers"}
_NO_OPTION = re.compile(r"Option '(\w+)' is not accepted")
_TYPES = {"collections.abc.Sequence": "list", "str": "text", "int": "whole number", "float": "number",
          "dict": "mapping", "bool": "true or false"}  # fmt: skip


def plain(message: str) -> str:
    r"""One sentence for a report of jsonargparse; any other message as it is, with what a mistyped name may have meant.

    Example:
        >>> plain("Does not validate against any of the Union subtypes\nErrors:\n  - Found no weights at x.pth.")
        'Found no weights at x.pth.'
    """
    lines = [line for line in message.splitlines() if line.strip() and not _NOISE.match(line)]
    places: list[str] = []
    classes: list[str] = []
    reasons: list[str] = []
    expected: list[str] = []
    given = ""
    for line in lines:
        if found := _PLACE.match(line):
            places.append(found[1])
            line = found[2]
        if found := _CLASS.match(line):
            classes.append(found[1])
            line = found[2]
        if found := _GIVEN.match(line):
            given = found[1]
        elif found := _EXPECTED.match(line.strip().removeprefix("- ")):
            expected.append(_TYPES.get(found[1], found[1].rpartition(".")[2]))
            given = found[2] or given
        elif line.strip():
            reasons.append(line.strip().removeprefix("- "))
    if not (places or classes or len(lines) < len(message.splitlines())):
        return _with_close_names(message, [])
    if expected and not (classes and reasons):  # or a class says itself what is wrong with it
        wanted = " or ".join(dict.fromkeys(expected))
        reasons.append(f"got {given}, expected {wanted}" if given else f"expected {wanted}")
    where = ".".join(places)
    if classes:
        where = f"{where} ({classes[-1]})" if where else classes[-1]
    reasons = [_MISSING.sub(_extra, reason) for reason in dict.fromkeys(reasons)]
    return _with_close_names(f"{where}: " * bool(where) + "; ".join(reasons), classes)


def _extra(missing: re.Match[str]) -> str:
    """How to install a package that Lightning misses, where this project has an extra for it."""
    extra = _EXTRAS.get(missing[1])
    return f"it needs {missing[1]}, which is not installed: pip install " + (
        f'"fex-explain[{extra}]".' if extra else f"{missing[1]}."
    )


def _with_close_names(message: str, classes: list[str]) -> str:
    """Adds what a mistyped class or setting may have meant."""
    for module, name in _NO_ATTRIBUTE.findall(message):
        known = getattr(sys.modules.get(module), "__all__", [])
        message = message.replace(f"has no attribute '{name}'", f"has no {name!r}{close_names(name, known)}")
    kinds = [getattr(sys.modules.get(path.rpartition(".")[0]), path.rpartition(".")[2], None) for path in classes]
    known = [key for kind in kinds if kind is not None for key in _keywords(kind)]
    for name in _NO_OPTION.findall(message):
        message = message.replace(f"Option '{name}' is not accepted", f"It takes no {name!r}{close_names(name, known)}")
    return message


def _keywords(kind: Any) -> list[str]:
    try:
        return keywords_of(kind)
    except (TypeError, ValueError):  # a class of C has no signature
        return []
