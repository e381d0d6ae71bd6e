"""Whether a black box is the one that an explainer was trained on."""

from typing import TYPE_CHECKING

from fex.black_box.base import BlackBox
from fex.black_box.classes import misplaced

if TYPE_CHECKING:
    from fex.explainers.trained import AmortizedExplainer

__all__ = ["check_fits"]


def check_fits(black_box: BlackBox, explainer: "AmortizedExplainer") -> None:
    """The box must answer for the same inputs and classes.

    Raises:
        ValueError: it does not.
    """
    modality, names = explainer.modality, explainer.class_names
    reason = f"takes {black_box.modality} inputs, this explainer {modality.name}"
    if black_box.modality == modality.name:
        reason = modality.misfit(explainer.preprocess, black_box.preprocess)
    if not reason and black_box.num_classes != len(names):
        reason = f"has {black_box.num_classes} classes, this explainer {len(names)}"
    if not reason and (name := misplaced(black_box.class_names, names)) is not None:
        reason = f"has class {name!r} in another place than this explainer"
    if reason:
        raise ValueError(
            f"Black box {black_box.name!r} {reason}: give the box that it was trained on, {explainer.black_box!r}."
        )
