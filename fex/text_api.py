"""Explanations of texts by any explainer: what `fex.explain` does where the black box reads texts."""

import time
from collections.abc import Sequence

import torch

from fex.black_box.text import TextInputs
from fex.class_names import class_index
from fex.text_explanation import TextExplanation
from fex.tokenizer import Text
from fex.types import Explainer

__all__ = ["explain_texts_by"]


def explain_texts_by(
    explainer: Explainer, box: TextInputs, text: Text | Sequence[Text], target: str | int | None, top_k: int
) -> list[TextExplanation]:
    """What `AmortizedTextExplainer.explain` does, by any explainer that answers `attribute` on token ids.

    Args:
        explainer: such as those of `fex.baselines`.
        box: what it explains; chooses the classes and gives the probability, one query a text.
        text: the text, a pair (a tuple), or several texts (a list).
        target: class by name or index; by default the predicted ones.
        top_k: how many of the predicted classes, the likeliest first; without `target`.
    """
    if target is not None and top_k != 1:
        raise ValueError(f"Got target {target!r} and top_k={top_k}: give one of the two.")
    if not 1 <= top_k <= box.num_classes:
        raise ValueError(f"top_k must lie in 1 ... {box.num_classes}, the number of classes; got {top_k}.")
    texts = [text] if isinstance(text, str | tuple) else list(text)
    rows = box.preprocess.many(texts)
    for one, row in zip(texts, rows, strict=True):
        if max(row.parts) < 0:
            raise ValueError(f"The text {one!r:.80} has no tokens to explain: give one with visible characters.")
    inputs = box.preprocess.pad_batch([row.ids for row in rows])
    probabilities = box(inputs)
    classes = probabilities.argsort(dim=1, descending=True, stable=True)[:, :top_k]
    if target is not None:
        classes = torch.tensor(class_index(target, box.class_names)).expand(len(inputs), 1)
    removal = getattr(getattr(explainer, "masker", None), "removal", None)
    found: list[list[TextExplanation]] = [[] for _ in texts]
    for chosen in classes.unbind(1):
        before, start = box.queries, time.perf_counter()
        scores = explainer.attribute(inputs, chosen).cpu()
        seconds, queries = (time.perf_counter() - start) / len(texts), (box.queries - before) // len(texts)
        for number, (one, row, index) in enumerate(zip(texts, rows, chosen.tolist(), strict=True)):
            own = [place for place, part in enumerate(row.parts) if part >= 0]
            found[number].append(
                TextExplanation(
                    text=one,
                    scores=scores[number, own],
                    spans=[row.spans[i] for i in own],
                    words=[row.words[i] for i in own],
                    parts=[row.parts[i] for i in own],
                    cut=row.cut,
                    windows=1,
                    target=index,
                    target_name=box.class_names[index],
                    probability=float(probabilities[number, index]),
                    probability_of="black box",
                    method=type(explainer).__name__,
                    removal=getattr(removal, "name", "no"),
                    black_box=box.name,
                    queries=queries + 1,
                    seconds=seconds,
                )
            )
    return [explanation for row in found for explanation in row]
