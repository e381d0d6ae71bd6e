"""Explaining what a user gave, in whatever pieces it was read: the classes are chosen, each piece is one pass."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from fex.black_box.base import BlackBox
from fex.explainers.classes import class_fields, likeliest
from fex.explanations.several import Explanations
from fex.modality import Reading

if TYPE_CHECKING:
    from fex.explainers.trained import AmortizedExplainer

__all__ = ["explain_reading"]

Piece = tuple[dict[int, Tensor], Tensor]
"""Attribution (N,) by class, in the order of the classes, and probabilities (C,)."""


def explain_reading(
    explainer: "AmortizedExplainer",
    reading: Reading,
    chosen: list[int | None],
    top_k: int,
    black_box: BlackBox | None,
    names: Sequence[str],
) -> Explanations[Any]:
    """One explanation an instance and class; see `AmortizedExplainer.explain`.

    Args:
        explainer: gives attributions and probabilities of checked inputs.
        reading: the instances.
        chosen: class of each instance; None for the `top_k` likeliest ones.
        top_k: how many these are.
        black_box: asked for the probabilities, where it is given.
        names: of the instances.
    """
    start = time.perf_counter()
    # Pieces of one instance must agree on the class, so they are explained for all where they are several.
    several = None in chosen and max(reading.pieces, default=1) > 1
    pieces = _pieces(explainer, reading, None if several else chosen, top_k, black_box)
    seconds = (time.perf_counter() - start) / max(1, len(names))
    results, first = Explanations[Any](), 0
    for number, (count, user) in enumerate(zip(reading.pieces, chosen, strict=True)):
        here, first = pieces[first : first + count], first + count
        estimates = [estimate for _, estimate in here]
        probability = estimates[0] if count == 1 else torch.stack(estimates).mean(0)
        classes = list(here[0][0])
        if several:
            classes = likeliest(probability[None], top_k)[0].tolist() if user is None else [user]
        for index in classes:
            named = {
                **class_fields(
                    index, explainer.class_names, probability, asked=black_box is not None, user=user is not None
                ),
                "method": explainer.method,
                "removal": explainer.removal,
                "black_box": explainer.black_box,
                "queries": 0 if black_box is None else count,
                "seconds": seconds,
                "source": names[number],
                "agreement": explainer.agreement,
                "span": explainer.net.span,
            }
            values = [values[index] for values, _ in here]
            results.append(reading.result(number, values, explainer.features, named))
    return results


def _pieces(
    explainer: "AmortizedExplainer",
    reading: Reading,
    chosen: list[int | None] | None,
    top_k: int,
    black_box: BlackBox | None,
) -> list[Piece]:
    """What there is of each piece; `chosen` as above, and without it every class is explained."""
    instance = [number for number, count in enumerate(reading.pieces) for _ in range(count)]
    found: dict[int, Piece] = {}
    for numbers, inputs in reading.batches():
        answer = None if black_box is None else black_box(inputs)
        if chosen is None:
            classes = torch.arange(len(explainer.class_names)).expand(len(inputs), -1)
        else:
            own = (-1 - torch.arange(top_k)).expand(len(inputs), -1)
            rows = own if answer is None else likeliest(answer, top_k).cpu()
            wanted = (chosen[instance[number]] for number in numbers)
            given = torch.tensor([-1 if one is None else one for one in wanted], dtype=torch.int64).unsqueeze(1)
            classes = torch.where(given < 0, rows, given)
        explainer.modality.check(inputs, explainer.preprocess)
        values, used, estimate = (part.cpu() for part in explainer.explain_checked(inputs, classes))
        estimate = estimate if answer is None else answer.cpu()
        for row, number in enumerate(numbers):
            found[number] = dict(zip(used[row].tolist(), values[row].clone(), strict=True)), estimate[row]
    return [found[number] for number in sorted(found)]
