"""How the fidelity of explanations is told in tables, on pages and in summaries."""

from collections.abc import Sequence

from fex.explanations.base import BaseExplanation

__all__ = ["fidelity_cells", "fidelity_mark", "least_fidelity"]


def fidelity_cells(explanation: BaseExplanation) -> list[str]:
    """Value, low and high for a table; empty where it was not measured, or nothing could be told."""
    found = explanation.fidelity
    if found is None or not found.known:
        return [""] * 3
    return [f"{number:.4f}" for number in (found.value, found.low, found.high)]


def least_fidelity(explanations: Sequence[BaseExplanation]) -> list[float] | str | None:
    """Of one input's explanations the least, as value, low, high and queries, plain numbers.

    Why it is not known where that is so (`Fidelity.unknown`), None where nobody has asked.
    """
    asked = [each.fidelity for each in explanations if each.fidelity is not None]
    known = [[*map(float, found)] for found in asked if found.known]
    return min(known) if known else asked[0].unknown if asked else None


def fidelity_mark(explanations: Sequence[BaseExplanation]) -> float | None:
    """The number by which a page sorts a card; None where nothing is known."""
    least = least_fidelity(explanations)
    return least[0] if isinstance(least, list) else None
