"""`fex-explain --refine` and `--check`: a refined explainer behind the interface of a trained one."""

import argparse
import bisect
import hashlib
import json
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from fex.black_box import BlackBox
from fex.explainers import AmortizedExplainer, Refined
from fex.refine.spending import check_spending, worth_asking

__all__ = ["RefinedMethod", "SpentMethod", "asks", "refined_method"]

AT_ONCE = 2048  # queries between two results: progress is shown, and results kept, some inputs at a time


class RefinedMethod:
    """What the streams of `fex.explainers` ask of an explainer.

    Args:
        refined: asks the box.
        changes: what gives the explanations, `Refined.explain` or `Refined.check`.
        told: what the run is called.
    """

    def __init__(self, refined: Refined, explain: Any, told: str) -> None:
        self.refined, self._explain = refined, explain
        self.method, self.removal, self.black_box = told, refined.removal.name, refined.black_box.name

    @property
    def preprocess(self) -> Any:
        """Geometry of the inputs, or their tokenizer."""
        return self.refined.black_box.preprocess

    @property
    def queries(self) -> int:
        """What the black box was asked so far."""
        return self.refined.black_box.queries

    def explain(
        self,
        inputs: Any,
        target: str | int | None = None,
        top_k: int = 1,
        *,
        black_box: BlackBox | None = None,  # noqa: ARG002 it holds its own
        sources: Sequence[str] | None = None,
        window: int | None = None,  # noqa: ARG002 refused before
        batch_size: int = 32,
    ) -> list[Any]:
        """Explanations input by input, class by class."""
        return self._explain(inputs, target, top_k, sources=sources, batch_size=batch_size)


class SpentMethod(RefinedMethod):
    """Refines the pictures that `choose` has chosen; the others keep the explainer's own map and class, at no query.

    Args:
        refined: asks the box.
        queries: of each refined picture, that for its class among them.
        total: of all together.
    """

    def __init__(self, refined: Refined, queries: int, total: int) -> None:
        super().__init__(refined, refined.explain, f"{refined.method} + {queries - 1:,} queries where it may miss most")
        self.each, self.total, self.agreement = queries, total, refined.explainer.agreement  # type: ignore[attr-defined]
        self._plan: list[tuple[int, int, bool]] = []  # number among all files, seed, whether it is refined
        self._next = 0

    def choose(self, batches: Iterable[list[tuple[Any, Tensor | str]]], target: str | int | None) -> str:
        """Foresees the misses of all pictures.

        Args:
            batches: of all files, those that a stopped run has finished among them, so that the choice is the same.
            target: class of all; by default the explainer's own.

        Returns:
            A hash of the choice: with another one a run cannot go on.
        """
        numbers, seeds, foreseen, first = [], [], [torch.zeros(0)], 0
        explainer: Any = self.refined.explainer
        for batch in batches:
            good = [(first + place, read) for place, (_, read) in enumerate(batch) if isinstance(read, Tensor)]
            if good:
                inputs = torch.stack([read for _, read in good])
                foreseen.append(explainer.foresee(inputs, target).cpu())
                seeds += self.refined.features.seeds(inputs, self.refined.seed)
                numbers += [number for number, _ in good]
            first += len(batch)
        chosen = worth_asking(torch.cat(foreseen), self.each, self.total).tolist()
        self._plan = list(zip(numbers, seeds, chosen, strict=True))
        return hashlib.sha256(json.dumps([number for number, _, refine in self._plan if refine]).encode()).hexdigest()

    def start(self, done: int) -> None:
        """Goes on behind the first `done` files."""
        self._next = bisect.bisect_left(self._plan, done, key=lambda each: each[0])

    @property
    def told(self) -> str:
        """What was chosen, and how well."""
        worth = self.refined.explainer.foresight  # type: ignore[attr-defined]
        return (
            f"refined {sum(refine for _, _, refine in self._plan):,} of {len(self._plan):,} pictures, those whose maps "
            f"are foreseen to miss most (on {worth.inputs:,} validation inputs the worst tenth was found with AUROC "
            f"{worth.auroc:.2f})"
        )

    def explain(self, inputs: Any, target: Any = None, top_k: int = 1, **options: Any) -> list[Any]:
        """As there, of the next pictures."""
        part = self._plan[self._next : self._next + len(inputs)]
        self._next += len(inputs)
        if [seed for _, seed, _ in part] != self.refined.features.seeds(inputs, self.refined.seed):
            raise ValueError("A picture has changed while this ran: --refine-total reads each twice; start anew.")
        sources, plain, found = options.pop("sources"), self.refined.explainer.explain, [[]] * len(inputs)  # type: ignore[attr-defined]
        options = {"batch_size": options.get("batch_size", 32)}
        for refine, explain, more in ((True, self._explain, options), (False, plain, {})):
            rows = [row for row, each in enumerate(part) if each[2] is refine]
            if rows:
                given = iter(explain(inputs[rows], target, top_k, sources=[sources[row] for row in rows], **more))
                for row in rows:
                    found[row] = list(islice(given, top_k))
        return [each for row in found for each in row]


def asks(arguments: argparse.Namespace) -> bool:
    """Whether inputs are refined or checked."""
    return arguments.refine is not None or arguments.check is not None


def refined_method(explainer: AmortizedExplainer, box: BlackBox, arguments: argparse.Namespace) -> RefinedMethod:
    """What the command line asks for.

    Raises:
        ValueError: a box that is not the explainer's.
    """
    count, total = arguments.refine or arguments.check, arguments.refine_total
    refined = Refined(explainer, box, queries=count, until=arguments.until_fidelity, most=arguments.budget)
    most = count if arguments.until_fidelity is None else refined.most
    arguments.batch_size = min(arguments.batch_size, max(1, AT_ONCE // most))
    if total is not None:
        check_spending(refined, count + 1, total)  # one more for the class
        return SpentMethod(refined, count + 1, total)
    if arguments.check is not None:
        return RefinedMethod(refined, refined.check, f"{explainer.method}, checked by {count:,} queries,")
    told = f"{count:,} queries" if arguments.until_fidelity is None else f"{count:,} to {most:,} queries"
    return RefinedMethod(refined, refined.explain, f"{explainer.method} + {told}")
