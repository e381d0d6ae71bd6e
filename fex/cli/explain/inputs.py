"""The inputs of a run of `fex-explain`, and how they are explained, whatever they are."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

__all__ = ["Inputs"]


class Inputs(NamedTuple):
    """What a run explains.

    Attributes:
        unit: their name, in the plural.
        found: gives all of them, in order, each time it is called. Those in tables are not read yet.
        key: plain data that tells one from others.
        explain: by an explainer: name of each, and its explanations or the reason why there are none.
        explainer: that of the run.
        total: their number, where it is known.
    """

    unit: str
    found: Callable[[], Iterator[Any]]
    key: Callable[[Any], Any]
    explain: Callable[[Any, Iterable[Any]], Iterator[tuple[str, Any]]]
    explainer: Any
    total: int | None = None
