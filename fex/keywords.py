"""Mistyped names: what was probably meant, and what there is. Imports nothing that takes time."""

import difflib
import inspect
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

__all__ = ["beside", "called", "check_keywords", "close_names", "keywords_of", "made"]

_PLAIN = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def close_names(name: str, known: Sequence[str], *, all_else: bool = True) -> str:
    """The end of a sentence on an unknown name: what may have been meant, or else (`all_else`) what there is.

    Example:
        >>> close_names("epoch", ["epochs", "grid"]), close_names("x", ["epochs", "grid"])
        ('; did you mean epochs?', '; it has epochs, grid.')
    """
    known = list(dict.fromkeys(known))
    if near := difflib.get_close_matches(name, known, n=3):
        return f"; did you mean {' or '.join(near)}?"
    return f"; it has {', '.join(known)}." if known and all_else else ""


def beside(name: str, suffixes: Iterable[str]) -> list[str]:
    """Files in the folder of `name` that end so, written as `name` writes its own."""
    folder = Path(name).parent
    try:
        found = sorted(path.name for path in folder.iterdir() if path.suffix in suffixes)
    except (OSError, ValueError):  # no such folder; a name that no file can have
        return []
    return [str(folder / each) if folder != Path() else each for each in found]


def keywords_of(kind: Callable[..., Any]) -> list[str]:
    """Names of the arguments of a function, or of a class and, where it hands others on, of its bases."""
    found: dict[str, None] = {}
    for each in getattr(kind, "__mro__", (kind,)):
        function = each.__dict__.get("__init__") if isinstance(each, type) else each
        if function is None or each is object:
            continue
        parameters = [p for p in inspect.signature(function).parameters.values() if p.name != "self"]
        found |= dict.fromkeys(p.name for p in parameters if p.kind in _PLAIN)
        if not any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters):
            break
    return list(found)


def check_keywords(given: Iterable[str], known: Sequence[str], *, what: str, taken: Sequence[str] = ()) -> None:
    """Refuses keywords that are unknown, or given by place already.

    Raises:
        TypeError: names the keyword, what was probably meant, and all that there are.
    """
    for name in given:
        if name in taken:
            raise TypeError(f"{what} has its {name!r} already, by the first argument: leave the keyword out.")
        if name not in known:
            near = close_names(name, known, all_else=False) or "."
            raise TypeError(f"{what} takes no {name!r}{near} It takes {', '.join(sorted({*known} - {*taken}))}.")


def called(kind: type) -> str:
    """What errors call `load_black_box` where it makes a box of this class."""
    return f"load_black_box (here a {kind.__name__})"


def made(kind: type, /, *places: Any, **options: Any) -> Any:
    """The black box `kind(*places, **options)`, with `check_keywords` before it."""
    known = keywords_of(kind)
    check_keywords(options, known, what=called(kind), taken=known[: len(places)])
    return kind(*places, **options)
