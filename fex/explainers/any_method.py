"""Explanations by any explainer that answers `attribute`: what `fex.explain` does where none was trained."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from fex.black_box.alike import check_own_box
from fex.black_box.base import BlackBox
from fex.checks import check_choice
from fex.class_names import class_index
from fex.explainers.classes import class_fields, likeliest
from fex.explanations.several import Explanations
from fex.modality import modality_of
from fex.types import Explainer

__all__ = ["Attribute", "Found", "explain_by", "removal_name"]


@dataclass(frozen=True)
class Found:
    """What an explainer found of one class of each input.

    Attributes:
        scores: one row an input.
        named: for each input what else is known, fields of `BaseExplanation`; they win over the usual ones.
    """

    scores: Tensor
    named: list[dict[str, Any]] | None = None


Attribute = Callable[[Tensor, Tensor], Iterable[Found]]
"""Inputs (B, ...) and T classes of each (B, T) -> T times `Found`."""


def explain_by(
    explainer: Explainer,
    box: BlackBox,
    given: Any,
    target: str | int | None,
    top_k: int,
    *,
    sources: Sequence[str] | None = None,
    attribute: Attribute | None = None,
) -> Explanations[Any]:
    """What `AmortizedExplainer.explain` does, by any explainer.

    Args:
        explainer: such as those of `fex.baselines`.
        box: what it explains; chooses the classes and gives the probability, one query an instance.
        given: one instance or several, as there.
        target: class by name or index; by default the predicted ones.
        top_k: how many of the predicted classes, the likeliest first; without `target`.
        sources: names of the instances in the results; by default the files'.
        attribute: what gives the scores, where that is not the explainer's own way.

    Raises:
        ValueError: see `AmortizedExplainer.explain`; an explainer whose own box is of other classes.
    """
    check_own_box(explainer, box)
    class_names = getattr(explainer, "class_names", box.class_names)  # one that knows them calls them alike everywhere
    check_choice(target, top_k, box.num_classes)
    modality = modality_of(box.modality)
    reading = modality.read(given, box.preprocess)
    inputs = reading.inputs
    # One that scores no features of its own gives a map of pixels: every pixel is a feature.
    of_features = hasattr(explainer, "attribute_features") and getattr(explainer, "features", None) is not None
    features = explainer.features if of_features else modality.of_inputs(inputs, box.preprocess)  # type: ignore[attr-defined]

    probabilities = box(inputs)
    classes = likeliest(probabilities, top_k)
    if target is not None:
        classes = torch.tensor(class_index(target, class_names)).expand(len(inputs), 1)
    attribute = attribute or partial(_own_maps, explainer, of_features=of_features)
    names = reading.names if sources is None else sources
    found: list[list[Any]] = [[] for _ in range(len(inputs))]
    parts = iter(attribute(inputs, classes))
    for chosen in classes.unbind(1):
        before, start = box.queries, time.perf_counter()
        part = next(parts)
        scores = part.scores.cpu()
        seconds, queries = (time.perf_counter() - start) / len(inputs), (box.queries - before) // len(inputs)
        for row, index in enumerate(chosen.tolist()):
            named = {
                **class_fields(index, class_names, probabilities[row], asked=True, user=target is not None),
                "method": type(explainer).__name__,
                "removal": removal_name(explainer) or "no",
                "black_box": box.name,
                "queries": queries + 1,
                "seconds": seconds,
                "source": names[row],
                **({} if part.named is None else part.named[row]),
            }
            found[row].append(reading.result(row, [scores[row]], features, named))
    return Explanations(explanation for row in found for explanation in row)


def _own_maps(explainer: Any, inputs: Tensor, classes: Tensor, *, of_features: bool) -> Iterator[Found]:
    for chosen in classes.unbind(1):
        if of_features:
            yield Found(explainer.attribute_features(inputs, chosen))
        else:
            yield Found(explainer.attribute(inputs, chosen).flatten(1))


def removal_name(explainer: Any) -> str | None:
    """Of the fill that the explainer was trained or runs with, where it has one."""
    removal = getattr(explainer, "removal", getattr(getattr(explainer, "masker", None), "removal", None))
    return removal if isinstance(removal, str) else getattr(removal, "name", None)
