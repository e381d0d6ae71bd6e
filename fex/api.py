"""The short way: one call from a picture to explanations, whatever the explainer."""

import time
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from fex.black_box.base import BlackBox
from fex.black_box.text import TextInputs
from fex.class_names import class_index
from fex.explainer import AmortizedExplainer, load_explainer
from fex.explanation import Explanation
from fex.features import PatchGrid
from fex.image_files import Picture, as_inputs
from fex.text_api import explain_texts_by
from fex.text_explainer import AmortizedTextExplainer
from fex.types import Explainer

__all__ = ["explain"]


def explain(
    image: Picture | Sequence[Picture] | Tensor,
    explainer: str | Path | Explainer,
    target: str | int | None = None,
    top_k: int = 1,
    *,
    black_box: BlackBox | None = None,
) -> list[Explanation]:
    """Explains one image or text, or several.

    Args:
        image: picture (PIL, or an array (h, w, 3), uint8, RGB), its path, or a list of these; or a tensor (3, H, W) or
            (B, 3, H, W), RGB in [0, 1]; for an explainer of texts a text, a pair (a tuple) or a list of texts.
        explainer: name or path of a trained one (for many calls, load it once by `fex.load_explainer`), or any
            explainer, such as those of `fex.baselines`.
        target: class by name or index; by default the predicted ones.
        top_k: how many of the predicted classes, the likeliest first; without `target`.
        black_box: chooses the classes and gives the probability. A trained explainer does without; any other needs
            it, unless it holds it as `black_box`.

    Returns:
        One explanation an image and class: image by image, class by class.

    Raises:
        ValueError: unknown class, `target` along with `top_k`, unreadable picture, an explainer without a box.

    Example:
        ``fex.explain("dog.jpg", "fex_efficientnet_lite0", top_k=2)[0].save("dog.png")``
    """
    if isinstance(explainer, (str, Path)):
        explainer = load_explainer(explainer)
    if isinstance(explainer, AmortizedTextExplainer):
        return explainer.explain(image, target, top_k, black_box=black_box)  # type: ignore[arg-type, return-value]
    if isinstance(explainer, AmortizedExplainer):
        return explainer.explain(image, target, top_k, black_box=black_box)
    box = black_box if black_box is not None else getattr(explainer, "black_box", None)
    if not isinstance(box, BlackBox):
        raise ValueError(f"{type(explainer).__name__} does not know what it explains: give `black_box`.")
    if isinstance(box, TextInputs):
        return explain_texts_by(explainer, box, image, target, top_k)  # type: ignore[arg-type, return-value]
    return _explain_by(explainer, box, image, target, top_k)


def _explain_by(
    explainer: Explainer,
    box: BlackBox,
    image: Picture | Sequence[Picture] | Tensor,
    target: str | int | None,
    top_k: int,
) -> list[Explanation]:
    if target is not None and top_k != 1:
        raise ValueError(f"Got target {target!r} and top_k={top_k}: give one of the two.")
    if not 1 <= top_k <= box.num_classes:
        raise ValueError(f"top_k must lie in 1 ... {box.num_classes}, the number of classes; got {top_k}.")
    inputs, names = as_inputs(image, box.preprocess)
    probabilities = box(inputs)
    classes = probabilities.argsort(dim=1, descending=True, stable=True)[:, :top_k]
    if target is not None:
        classes = torch.tensor(class_index(target, box.class_names)).expand(len(inputs), 1)
    # One that scores no features of its own gives a map of pixels: every pixel is a feature.
    of_features = hasattr(explainer, "attribute_features") and getattr(explainer, "features", None) is not None
    features = explainer.features if of_features else PatchGrid(inputs.shape[-2], inputs.shape[-1])  # type: ignore[attr-defined]
    removal = getattr(explainer, "removal", None)
    found: list[list[Explanation]] = [[] for _ in range(len(inputs))]
    for chosen in classes.unbind(1):
        before, start = box.queries, time.perf_counter()
        if of_features:
            values = explainer.attribute_features(inputs, chosen).cpu()  # type: ignore[attr-defined]
        else:
            values = explainer.attribute(inputs, chosen).flatten(1).cpu()
        seconds, queries = (time.perf_counter() - start) / len(inputs), (box.queries - before) // len(inputs)
        for row, index in enumerate(chosen.tolist()):
            found[row].append(
                Explanation(
                    attribution=values[row],
                    features=features,
                    size=(inputs.shape[-2], inputs.shape[-1]),
                    target=index,
                    target_name=box.class_names[index],
                    probability=float(probabilities[row, index]),
                    probability_of="black box",
                    method=type(explainer).__name__,
                    removal=getattr(removal, "name", "no"),
                    black_box=box.name,
                    queries=queries + 1,
                    seconds=seconds,
                    source=names[row],
                    image=inputs[row],
                )
            )
    return [explanation for row in found for explanation in row]
