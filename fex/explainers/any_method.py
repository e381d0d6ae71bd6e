"""Explanations by any explainer that answers `attribute`: what `fex.explain` does where none was trained."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

from fex.black_box.base import BlackBox
from fex.black_box.text import TextInputs
from fex.checks import check_choice, check_tokens
from fex.class_names import class_index
from fex.explanations.image import Explanation
from fex.explanations.text import TextExplanation
from fex.images.features import PatchGrid
from fex.images.files import Picture, as_inputs
from fex.texts.tokenized import Text
from fex.types import Explainer

__all__ = ["Attribute", "Found", "explain_images_by", "explain_texts_by"]

T = TypeVar("T")


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


def explain_images_by(
    explainer: Explainer,
    box: BlackBox,
    image: Picture | Sequence[Picture] | Tensor,
    target: str | int | None,
    top_k: int,
    *,
    sources: Sequence[str] | None = None,
    attribute: Attribute | None = None,
) -> list[Explanation]:
    """What `AmortizedExplainer.explain` does, by any explainer.

    Args:
        explainer: such as those of `fex.baselines`.
        box: what it explains; chooses the classes and gives the probability, one query an image.
        image: as there.
        target: class by name or index; by default the predicted ones.
        top_k: how many of the predicted classes, the likeliest first; without `target`.
        sources: names of the images in the results; by default the file's.
        attribute: what gives the scores, where that is not the explainer's own way.
    """
    check_choice(target, top_k, box.num_classes)
    inputs, names = as_inputs(image, box.preprocess)
    names = names if sources is None else list(sources)
    # One that scores no features of its own gives a map of pixels: every pixel is a feature.
    of_features = hasattr(explainer, "attribute_features") and getattr(explainer, "features", None) is not None
    features = explainer.features if of_features else PatchGrid(inputs.shape[-2], inputs.shape[-1])  # type: ignore[attr-defined]

    def scores(chosen: Tensor) -> Tensor:
        if of_features:
            return explainer.attribute_features(inputs, chosen)  # type: ignore[attr-defined]
        return explainer.attribute(inputs, chosen).flatten(1)

    def result(row: int, values: Tensor, named: dict[str, Any]) -> Explanation:
        size = (inputs.shape[-2], inputs.shape[-1])
        return Explanation(values, features, size, image=inputs[row], source=names[row], **named)

    return _explained(explainer, box, inputs, target, top_k, attribute or _class_by_class(scores), result)


def explain_texts_by(
    explainer: Explainer,
    box: TextInputs,
    text: Text | Sequence[Text],
    target: str | int | None,
    top_k: int,
    *,
    sources: Sequence[str] | None = None,
    attribute: Attribute | None = None,
) -> list[TextExplanation]:
    """What `AmortizedTextExplainer.explain` does, by any explainer that answers `attribute` on token ids.

    Args:
        explainer: such as those of `fex.baselines`.
        box: what it explains; chooses the classes and gives the probability, one query a text.
        text: the text, a pair (a tuple), or several texts (a list).
        target: class by name or index; by default the predicted ones.
        top_k: how many of the predicted classes, the likeliest first; without `target`.
        sources: names of the texts in the results.
        attribute: as of `explain_images_by`.
    """
    check_choice(target, top_k, box.num_classes)
    texts = [text] if isinstance(text, str | tuple) else list(text)
    rows = box.preprocess.many(texts)
    for one, row in zip(texts, rows, strict=True):
        check_tokens(one, [row])
    inputs = box.preprocess.pad_batch([row.ids for row in rows])

    def result(row: int, values: Tensor, named: dict[str, Any]) -> TextExplanation:
        if (errors := named.get("std")) is not None:
            named = {**named, "std": errors[[place for place, part in enumerate(rows[row].parts) if part >= 0]]}
        source = "" if sources is None else sources[row]
        return TextExplanation.of_tokens(texts[row], rows[row], values, source=source, **named)

    own = _class_by_class(lambda chosen: explainer.attribute(inputs, chosen))
    return _explained(explainer, box, inputs, target, top_k, attribute or own, result)


def _class_by_class(scores: Callable[[Tensor], Tensor]) -> Attribute:
    """Of what scores one class of each input at a time."""

    def attribute(_inputs: Tensor, classes: Tensor) -> Iterator[Found]:
        for chosen in classes.unbind(1):
            yield Found(scores(chosen))

    return attribute


def _explained(
    explainer: Explainer,
    box: BlackBox,
    inputs: Tensor,
    target: str | int | None,
    top_k: int,
    attribute: Attribute,
    result: Callable[[int, Tensor, dict[str, Any]], T],
) -> list[T]:
    """Results of each instance and class, instance by instance.

    Args:
        explainer: gives the names of method and removal.
        box: asked once an instance.
        inputs: (B, ...).
        target: see above.
        top_k: see above.
        attribute: inputs and classes (B, T) -> for each of the T what was found, as it comes.
        result: of a row, its attribution and the fields of `BaseExplanation`.
    """
    probabilities = box(inputs)
    classes = probabilities.argsort(dim=1, descending=True, stable=True)[:, :top_k]
    if target is not None:
        classes = torch.tensor(class_index(target, box.class_names)).expand(len(inputs), 1)
    masker = getattr(explainer, "masker", None)
    removal = getattr(explainer, "removal", getattr(masker, "removal", None))
    found: list[list[T]] = [[] for _ in range(len(inputs))]
    parts = iter(attribute(inputs, classes))
    for chosen in classes.unbind(1):
        before, start = box.queries, time.perf_counter()
        part = next(parts)
        scores = part.scores.cpu()
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
                **({} if part.named is None else part.named[row]),
            }
            found[row].append(result(row, scores[row], named))
    return [explanation for row in found for explanation in row]
