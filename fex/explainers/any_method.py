"""Explanations by any explainer that answers `attribute`: what `fex.explain` does where none was trained."""

import time
from typing import Any

import torch
from torch import Tensor

from fex.black_box.base import BlackBox
from fex.checks import check_choice
from fex.class_names import class_index
from fex.explanations.several import Explanations
from fex.modality import modality_of
from fex.types import Explainer

__all__ = ["explain_by"]


def explain_by(
    explainer: Explainer, box: BlackBox, given: Any, target: str | int | None, top_k: int
) -> Explanations[Any]:
    """What `AmortizedExplainer.explain` does, by any explainer.

    Args:
        explainer: such as those of `fex.baselines`.
        box: what it explains; chooses the classes and gives the probability, one query an instance.
        given: one instance or several, as there.
        target: class by name or index; by default the predicted ones.
        top_k: how many of the predicted classes, the likeliest first; without `target`.
    """
    check_choice(target, top_k, box.num_classes)
    modality = modality_of(box.modality)
    reading = modality.read(given, box.preprocess)
    inputs = reading.inputs
    # One that scores no features of its own gives a map of pixels: every pixel is a feature.
    of_features = hasattr(explainer, "attribute_features") and getattr(explainer, "features", None) is not None
    features = explainer.features if of_features else modality.of_inputs(inputs, box.preprocess)  # type: ignore[attr-defined]

    def attribute(chosen: Tensor) -> Tensor:
        if of_features:
            return explainer.attribute_features(inputs, chosen)  # type: ignore[attr-defined]
        return explainer.attribute(inputs, chosen).flatten(1)

    probabilities = box(inputs)
    classes = probabilities.argsort(dim=1, descending=True, stable=True)[:, :top_k]
    if target is not None:
        classes = torch.tensor(class_index(target, box.class_names)).expand(len(inputs), 1)
    masker = getattr(explainer, "masker", None)
    removal = getattr(explainer, "removal", getattr(masker, "removal", None))
    found: list[list[Any]] = [[] for _ in range(len(inputs))]
    for chosen in classes.unbind(1):
        before, start = box.queries, time.perf_counter()
        scores = attribute(chosen).cpu()
        seconds, queries = (time.perf_counter() - start) / len(inputs), (box.queries - before) // len(inputs)
        for row, index in enumerate(chosen.tolist()):
            named = {
                "target": index,
                "target_name": box.class_names[index],
                "probability": float(probabilities[row, index]),
                "probability_of": "black box",
                "chosen_by": "black box" if target is None else "user",
                "method": type(explainer).__name__,
                "removal": getattr(removal, "name", "no"),
                "black_box": box.name,
                "queries": queries + 1,
                "seconds": seconds,
                "source": reading.names[row],
            }
            found[row].append(reading.result(row, [scores[row]], features, named))
    return Explanations(explanation for row in found for explanation in row)
