"""Whether a black box is the one that an explainer was trained on."""

from typing import TYPE_CHECKING

from fex.black_box.base import BlackBox
from fex.black_box.classes import are_named, misplaced
from fex.errors import warn_once

if TYPE_CHECKING:
    from fex.explainers.trained import AmortizedExplainer

__all__ = ["check_fits"]


def check_fits(black_box: BlackBox, explainer: "AmortizedExplainer") -> None:
    """The box must answer for the same inputs and classes; says so, once, where their order cannot be compared.

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
    if are_named(names) and not are_named(black_box.class_names):
        _tell_unknown_order(black_box, explainer)


def _tell_unknown_order(black_box: BlackBox, explainer: "AmortizedExplainer") -> None:
    """A box without class names may count them in any order; of the very weights of training it is the same."""
    trained, now = explainer.meta.get("black_box_sha256"), black_box.digest()
    if trained and trained == now:
        return
    other = bool(trained and now) or black_box.name != explainer.black_box
    told = f", and it is not the box that the explainer was trained for, {explainer.black_box!r}" if other else ""
    warn_once(
        f"Black box {black_box.name!r} has no class names, so the order of its classes cannot be compared with the "
        f"explainer's{told}: give it `class_names`; its classes are called by the explainer's names."
    )
