"""Many inputs and a total of queries: spent where the largest misses are foreseen."""

import math
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from fex.class_names import Target
from fex.refine.fidelity import Fidelity
from fex.refine.refined import Refined
from fex.refine.refinement import Refinement

__all__ = ["check_spending", "spend", "worth_asking"]


def worth_asking(foreseen: Tensor, queries: int, total: int) -> Tensor:
    """The inputs of the largest foreseen misses, as many as the total allows.

    Args:
        foreseen: (n,); NaN is the largest.
        queries: of each input, at least 1.
        total: of all together.

    Returns:
        (n,), bool; among equals the first.
    """
    chosen = torch.zeros(len(foreseen), dtype=torch.bool)
    chosen[foreseen.cpu().argsort(descending=True, stable=True)[: total // queries]] = True
    return chosen


def check_spending(refined: Refined, queries: int, total: int) -> None:
    """Whether a total can be spent well.

    Args:
        refined: refines the inputs that are chosen.
        queries: of each of them.
        total: of all together.

    Raises:
        ValueError: the explainer cannot foresee, or foresees the same of every input; a total below the queries of one
            input; a refinement that goes on until a fidelity, whose queries nobody knows beforehand.
    """
    if refined.until is not None:
        raise ValueError("A total of queries needs as many for each refined input: leave `until` out.")
    if not 1 <= queries <= total:
        raise ValueError(f"A total of {total:,} queries is less than the {queries:,} of one input: give more.")
    foresight = getattr(refined.explainer, "foresight", None)
    if foresight is None:
        raise ValueError(
            f"{type(refined.explainer).__name__} cannot foresee which maps are poor, so a total cannot be spent where "
            "it helps: train with the callback lightning_modules.callbacks.Trust, or refine all by fewer queries."
        )
    if foresight.blind:
        raise ValueError(
            f"Of {foresight.inputs:,} validation inputs nothing told which maps of this explainer are poor, so a total "
            "would be spent at random: refine all inputs by fewer queries."
        )


def spend(
    refined: Refined, batches: Iterable[Tensor], total: int, target: Target | None = None
) -> Iterator[Refinement]:
    """Explains every input in one pass, and refines those of the largest foreseen misses.

    Args:
        refined: its explainer foresees; asks `queries` of each input that is chosen.
        batches: of inputs (B, ...); gone through twice, so a list or a loader that does not shuffle, no generator.
        total: of all queries, which is never exceeded.
        target: one class for all; by default the explainer's own of each input.

    Yields:
        A refinement of each batch. What was not refined is the map as it is: its `fidelity` has 0 queries, its `std` is
        NaN.

    Raises:
        ValueError: see `check_spending`; batches that cannot be gone through twice, or differ the second time.
    """
    check_spending(refined, refined.queries, total)
    if iter(batches) is batches:
        raise ValueError("The batches are gone through twice: give a list or a loader, no generator.")
    explainer: Any = refined.explainer
    seeds, foreseen = [], [torch.zeros(0)]
    for inputs in batches:
        seeds += refined.features.seeds(inputs, refined.seed)
        foreseen.append(explainer.foresee(inputs, target).cpu())
    chosen, first = worth_asking(torch.cat(foreseen), refined.queries, total), 0
    for inputs in batches:
        last = first + len(inputs)
        if refined.features.seeds(inputs, refined.seed) != seeds[first:last]:
            raise ValueError("The batches gave other inputs the second time: give a loader that does not shuffle.")
        yield _some_refined(refined, inputs, target, chosen[first:last].nonzero().squeeze(1))
        first = last
    if first != len(seeds):
        raise ValueError(f"The batches gave {len(seeds):,} inputs, and {first:,} the second time: give the same twice.")


def _some_refined(refined: Refined, inputs: Tensor, target: Target | None, rows: Tensor) -> Refinement:
    """Of one batch, refined in some rows."""
    own, classes, _ = refined.explainer.explain_batch(inputs, target)  # type: ignore[attr-defined]
    unknown = [Fidelity(math.nan, math.nan, math.nan, 0)] * len(inputs)
    found = Refinement(own, torch.full_like(own, math.nan), own, unknown, list(unknown), 0)
    if not len(rows):
        return found
    part = refined.refine(inputs[rows.to(inputs.device)], classes[rows.to(classes.device)])
    values, std = own.clone(), found.std
    values[rows], std[rows] = part.attribution.to(own), part.std.to(own)
    fidelity, before = list(unknown), list(unknown)
    for place, row in enumerate(rows.tolist()):
        fidelity[row], before[row] = part.fidelity[place], part.own_fidelity[place]
    return Refinement(values, std, own, fidelity, before, part.queries)
