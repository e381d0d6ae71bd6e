"""Explanations of several instances or classes: a list that can be shown, drawn and saved as one."""

from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from fex.explanations.base import BaseExplanation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Explanations"]

T = TypeVar("T", bound=BaseExplanation)


class Explanations(list[T]):
    """A list of explanations of pictures, or of texts; notebooks show all of them below each other."""

    def plot(self) -> "Figure":
        """One figure of matplotlib's, one explanation a row.

        Raises:
            ValueError: the list is empty.
        """
        if not self:
            raise ValueError("There is no explanation to plot: the list is empty.")
        return self[0]._drawn("figure", *self[1:])

    def save(self, folder: str | Path, suffix: str = ".png") -> list[Path]:
        """Writes one file an explanation, named by its place: ``0.png``, ``1.png`` and so on.

        Args:
            folder: made if it is missing; files of the same names are replaced.
            suffix: one of the explanations' `suffixes`.

        Returns:
            The files, in the order of the list.

        Raises:
            ValueError: another suffix.
        """
        Path(folder).mkdir(parents=True, exist_ok=True)
        return [explanation.save(Path(folder) / f"{index}{suffix}") for index, explanation in enumerate(self)]

    def _repr_html_(self) -> str:
        """How notebooks show it."""
        return "".join(explanation._drawn("card") for explanation in self)
