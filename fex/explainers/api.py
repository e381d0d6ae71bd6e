"""The short way: one call from a picture to explanations, whatever the explainer."""

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from fex.black_box.alike import check_own_box
from fex.black_box.base import BlackBox
from fex.explainers.any_method import explain_by
from fex.explainers.loading import load_explainer
from fex.explainers.refined import Refined
from fex.explainers.trained import AmortizedExplainer
from fex.explanations.image import Explanation
from fex.explanations.several import Explanations
from fex.images.files import Picture
from fex.types import Explainer

__all__ = ["explain"]


def explain(
    image: Picture | Sequence[Picture] | Tensor,
    explainer: str | Path | Explainer,
    target: str | int | None = None,
    top_k: int = 1,
    *,
    black_box: BlackBox | None = None,
) -> Explanations[Explanation]:
    """Explains one image or text, or several.

    Args:
        image: picture (PIL, or an array (h, w, 3), uint8, RGB), its path, or a list of these; or a tensor (3, H, W) or
            (B, 3, H, W), RGB in [0, 1]; for an explainer of texts a text, a pair (a tuple) or a list of texts; of
            another modality whatever it reads.
        explainer: name or path of a trained one (for many calls, load it once by `fex.load_explainer`), or any
            explainer, such as those of `fex.baselines`.
        target: class by name or index; by default the predicted ones.
        top_k: how many of the predicted classes, the likeliest first; without `target`.
        black_box: chooses the classes and gives the probability. A trained explainer does without; any other needs
            it, unless it holds it as `black_box`.

    Returns:
        One explanation an image and class: image by image, class by class.

    Raises:
        ValueError: unknown class, `target` along with `top_k`, unreadable picture, an explainer without a box, or
            one that asks a box of other classes.

    Example:
        ``fex.explain("dog.jpg", "fex_efficientnet_lite0", top_k=2)[0].save("dog.png")``
    """
    if isinstance(explainer, (str, Path)):
        explainer = load_explainer(explainer)
    if isinstance(explainer, AmortizedExplainer):
        return explainer.explain(image, target, top_k, black_box=black_box)
    if isinstance(explainer, Refined):
        if black_box is not None:
            check_own_box(explainer, black_box)
        return explainer.explain(image, target, top_k)  # type: ignore[return-value]
    box = black_box if black_box is not None else getattr(explainer, "black_box", None)
    if not isinstance(box, BlackBox):
        raise ValueError(f"{type(explainer).__name__} does not know what it explains: give `black_box`.")
    return explain_by(explainer, box, image, target, top_k)
