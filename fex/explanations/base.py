"""What the explanation of an instance says, be it a picture or a text, and how it is saved."""

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from torch import Tensor

from fex.contrast import contrast, is_flat
from fex.explanations.agreement import Agreement, told_agreement
from fex.storage.atomic import replacing

if TYPE_CHECKING:  # what draws and what measures an explanation; itself it is data
    from matplotlib.figure import Figure

    from fex.refine.fidelity import Fidelity

__all__ = ["FIGURES", "BaseExplanation"]

FIGURES = (".pdf", ".svg")  # files of `BaseExplanation.plot`, which both pictures and texts have


@dataclass(frozen=True, eq=False, kw_only=True)
class BaseExplanation(ABC):
    """Which class was explained, by which method, at what cost; subclasses add the input and its attribution.

    Args:
        target: index of the explained class.
        target_name: its name.
        probability: of the explained class, in [0, 1].
        probability_of: whose estimate that is: the explainer's own, or the black box's answer.
        method: explainer's name.
        removal: what removed features were replaced by in its making.
        black_box: name of what is explained.
        queries: black-box queries spent on it.
        seconds: wall time of its batch divided by the batch's instances; in a process's first batches that includes
            the warm-up of the library.
        source: name of the picture or text.
        chosen_by: who said which class to explain: the user, the black box, or the explainer, whose likeliest class
            need not be the box's; None where that is not said.
        agreement: how often the explainer's class is the box's; None where that is not known.
        span: largest difference that two values of the attribution can have, 1 for probabilities of keeping; None
            where they have no such bound.
        fidelity: how well the attribution foretells the black box's answers to masked copies of this input; None where
            nobody has asked (`fex.Refined`).
        std: standard error of each feature's attribution (N,), float32; None where it is not known.
    """

    target: int
    target_name: str
    probability: float
    probability_of: Literal["explainer", "black box"]
    method: str
    removal: str
    black_box: str
    queries: int = 0
    seconds: float = 0.0
    source: str = ""
    chosen_by: Literal["user", "black box", "explainer"] | None = None
    agreement: Agreement | None = None
    span: float | None = None
    fidelity: "Fidelity | None" = None
    std: Tensor | None = field(default=None, repr=False)

    suffixes: ClassVar[tuple[str, ...]]
    drawings: ClassVar[Mapping[str, Callable[..., Any]]] = {}  # given by `fex.report`

    def _own(self, name: str, values: Tensor) -> None:
        """Keeps the attribution in field `name` as float32 on the CPU.

        Raises:
            ValueError: it is not finite, or has standard errors of another shape.
        """
        if not bool(values.isfinite().all()):
            raise ValueError(
                f"The attribution of {self.source or 'the input'} for class {self.target_name!r} is not finite: the "
                "explainer's weights or its input are broken; check the checkpoint and the input."
            )
        object.__setattr__(self, name, values.detach().float().cpu())
        if self.std is not None:
            if self.std.shape != values.shape or not bool(self.std.isfinite().all()):
                raise ValueError(
                    f"Got standard errors of shape {tuple(self.std.shape)} for an attribution of shape "
                    f"{tuple(values.shape)}, expected one a feature, finite."
                )
            object.__setattr__(self, "std", self.std.detach().float().cpu())

    @property
    def measured(self) -> str:
        """The fidelity and its interval, for captions; "" where nobody has measured it."""
        return "" if self.fidelity is None else str(self.fidelity)

    @property
    def estimated_by(self) -> str:
        """Whose estimate `probability` is, for captions."""
        return "explainer's estimate" if self.probability_of == "explainer" else "the black box's"

    @property
    def doubt(self) -> str:
        """Where the explainer chose the class by itself, how often that is the black box's; otherwise ""."""
        return told_agreement(self.agreement) if self.chosen_by == "explainer" else ""

    @property
    @abstractmethod
    def shown(self) -> np.ndarray:
        """The values that pictures and pages colour."""

    @property
    def contrast(self) -> float:
        """How much the shown values differ, against how much they could; see `fex.contrast`."""
        return contrast(self.shown, self.span)

    @cached_property
    def flat(self) -> bool:
        """Whether they hardly differ, so that their order says little; one value alone is not held against it."""
        values = self.shown
        return len(values) > 1 and is_flat(values, self.span)

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Plain data."""

    def _drawn(self, how: str, *arguments: Any) -> Any:
        """The picture or page of that name; it is data alone, `fex.report` draws.

        Raises:
            RuntimeError: the report was not imported, as all explainers do.
        """
        if how not in self.drawings:
            raise RuntimeError(f"Nothing is here to draw a {type(self).__name__}: `import fex.report` first.")
        return self.drawings[how](self, *arguments)

    def plot(self) -> "Figure":
        """A figure of matplotlib's: notebooks show it, its `savefig` writes it in any format of matplotlib's."""
        return self._drawn("figure")

    def png(self) -> bytes:
        """Content of a .png file."""
        return self._encoded(".png")

    @abstractmethod
    def _encoded(self, suffix: str) -> bytes:
        """Content of a file of one of `suffixes`, but pages, JSON and `FIGURES`."""

    def _meta(self) -> dict[str, Any]:
        """Plain data of the fields above."""
        return {
            "source": self.source,
            "target": {"index": self.target, "name": self.target_name},
            "probability": self.probability,
            "probability_of": self.probability_of,
            "class_chosen_by": self.chosen_by,
            "agreement": None if self.agreement is None else self.agreement._asdict(),
            "contrast": float(f"{self.contrast:.4g}"),
            "flat": self.flat,
            "fidelity": None if self.fidelity is None else self.fidelity.to_dict(),
            "method": self.method,
            "black_box": self.black_box,
            "removal": self.removal,
            "queries": self.queries,
            "seconds": self.seconds,
        }

    def save(self, path: str | Path) -> Path:
        """Writes it in the format of the suffix, one of `suffixes`; the file appears whole or not at all.

        Returns:
            The path.

        Raises:
            ValueError: another suffix.
            OSError: the place cannot be written; names it.
        """
        path = Path(path)
        suffix = path.suffix.lower()
        if suffix not in self.suffixes:
            raise ValueError(f"Cannot save an explanation as {path.name!r}: end the name in one of {self.suffixes}.")
        if suffix == ".html":
            self._drawn("page", path)
            return path
        if suffix == ".json":
            data = json.dumps(self.to_dict(), ensure_ascii=False).encode("utf-8", "replace")
        elif suffix in FIGURES:
            data = self._drawn("file", suffix)
        else:
            data = self._encoded(suffix)
        with replacing(path) as part:
            part.write_bytes(data)
        return path
