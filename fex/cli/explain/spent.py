"""`fex-explain --refine-total`: the inputs whose maps are foreseen to miss most are refined, the others explained."""

import hashlib
from collections.abc import Sequence
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from fex.cli.explain.refined import RefinedMethod
from fex.explainers import Refined
from fex.refine.spending import check_spending, worth_asking

__all__ = ["Foreseen", "Foreseer", "SpentMethod"]


class Foreseen(NamedTuple):
    """What the first pass found of n inputs.

    Attributes:
        misses: foreseen (n,), float32.
        marks: of the content (n,), int64; -1 where an input cannot be explained.
    """

    misses: np.ndarray
    marks: np.ndarray

    @classmethod
    def joined(cls, parts: Sequence["Foreseen"]) -> "Foreseen":
        """Those of several parts, in order."""
        none = np.zeros(0, np.float32), np.zeros(0, np.int64)
        return cls(*(np.concatenate(column) for column in zip(none, *parts, strict=True)))


class Foreseer:
    """The first pass, behind the interface of an explainer, so that it reads what the second one reads.

    Args:
        refined: its explainer foresees.
    """

    def __init__(self, refined: Refined) -> None:
        self.refined, self.explainer = refined, refined.explainer
        self.preprocess = refined.black_box.preprocess

    def marks(self, inputs: Tensor | Sequence[Any]) -> list[int]:
        """What tells contents from others, whatever batch they come in: integers below 2^63."""
        if isinstance(inputs, Tensor):
            return self.refined.features.seeds(inputs, self.refined.seed)
        texts = (repr(text).encode("utf-8", "backslashreplace") for text in inputs)
        return [int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little") >> 1 for text in texts]

    def read(self, inputs: Tensor | Sequence[Any], **options: Any) -> Any:
        """The inputs, as the explainer reads them; `options` of the streams that it knows."""
        explainer: Any = self.explainer
        known = {name: options[name] for name in ("batch_size",) if name in options}
        return explainer.modality.read(inputs, explainer.preprocess, **known)

    def explain(
        self, inputs: Tensor | Sequence[Any], target: str | int | None = None, top_k: int = 1, **options: Any
    ) -> list[tuple[float, int]]:
        """Foreseen miss and mark, `top_k` times for each input."""
        explainer: Any = self.explainer
        told = torch.zeros(len(inputs))
        for numbers, part in self.read(inputs, **options).batches():
            told[list(numbers)] = explainer.foresee(part, target).cpu()
        found = zip(told.tolist(), self.marks(inputs), strict=True)
        return [each for each in found for _ in range(top_k)]


class SpentMethod(RefinedMethod):
    """Refines the inputs that `choose` has chosen; the others keep the explainer's own map and class, at no query.

    Args:
        refined: asks the box.
        queries: of each refined input, that for its class among them.
        total: of all together.

    Raises:
        ValueError: see `fex.refine.spending.check_spending`.
    """

    def __init__(self, refined: Refined, queries: int, total: int) -> None:
        check_spending(refined, queries, total)
        super().__init__(refined, refined.explain, f"{refined.method} + {queries - 1:,} queries where it may miss most")
        self.each, self.total, self.agreement = queries, total, refined.explainer.agreement  # type: ignore[attr-defined]
        self.foreseer = Foreseer(refined)
        self._places = self._marks = np.zeros(0, np.int64)  # of those that can be explained: number among all, mark
        self._chosen = np.zeros(0, bool)
        self._next = 0

    def choose(self, foreseen: Foreseen) -> str:
        """Gives the total to the largest misses.

        Args:
            foreseen: of all inputs, those that a stopped run has finished among them, so that the choice is the same.

        Returns:
            A hash of the choice: with another one a run cannot go on.
        """
        self._places = np.flatnonzero(foreseen.marks >= 0)
        self._marks = foreseen.marks[self._places]
        self._chosen = worth_asking(torch.from_numpy(foreseen.misses[self._places]), self.each, self.total).numpy()
        return hashlib.sha256(self._places[self._chosen].astype("<i8").tobytes()).hexdigest()

    def start(self, first: int) -> None:
        """Goes on with input number `first`."""
        self._next = int(np.searchsorted(self._places, first))

    @property
    def told(self) -> str:
        """What was chosen, and how well."""
        worth = self.refined.explainer.foresight  # type: ignore[attr-defined]
        return (
            f"refined {int(self._chosen.sum()):,} of {len(self._chosen):,} inputs, those whose maps are foreseen to "
            f"miss most (on {worth.inputs:,} validation inputs the worst tenth was found with AUROC {worth.auroc:.2f})"
        )

    def explain(self, inputs: Any, target: Any = None, top_k: int = 1, **options: Any) -> list[Any]:
        """As there, of the next inputs."""
        part = slice(self._next, self._next + len(inputs))
        if self.foreseer.marks(inputs) != self._marks[part].tolist():
            self.foreseer.read(inputs)  # a text without tokens, which was not counted, is told as such
            raise ValueError("An input has changed while this ran: --refine-total reads each twice; start anew.")
        self._next = part.stop
        chosen, sources, plain = self._chosen[part], options["sources"], self.refined.explainer.explain  # type: ignore[attr-defined]
        known = {name: options[name] for name in ("batch_size",) if name in options}
        found: list[list[Any]] = [[] for _ in inputs]
        for rows, explain in ((np.flatnonzero(chosen), self._explain), (np.flatnonzero(~chosen), plain)):
            if len(rows):
                some = inputs[rows] if isinstance(inputs, Tensor) else [inputs[row] for row in rows]
                given = iter(explain(some, target, top_k, sources=[sources[row] for row in rows], **known))
                for row in rows:
                    found[row] = list(islice(given, top_k))
        return [each for row in found for each in row]
