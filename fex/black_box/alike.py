"""Whether two black boxes answer for the same inputs and classes, so that one may name what the other was asked."""

from typing import Any

from fex.black_box.base import BlackBox
from fex.black_box.classes import are_named, misplaced
from fex.modality import modality_of

__all__ = ["check_own_box"]


def check_own_box(explainer: Any, black_box: BlackBox) -> None:
    """An explainer that asks a box of its own takes another beside it only where both say the same classes.

    Args:
        explainer: any; one without a box as `black_box` passes.
        black_box: chooses the classes and names them.

    Raises:
        ValueError: other inputs, or other classes: in number, names or order.
    """
    own = getattr(explainer, "black_box", None)
    if not isinstance(own, BlackBox) or own is black_box:
        return
    if reason := _unlike(black_box, own):
        raise ValueError(
            f"{type(explainer).__name__} asks its own black box {own.name!r}, and {black_box.name!r} beside it "
            f"{reason}: give one box to both, or leave `black_box` out."
        )


def _unlike(box: BlackBox, own: BlackBox) -> str:
    """What contradicts; "" where nothing does. Names that nobody has said contradict none."""
    if box.modality != own.modality:
        return f"takes {box.modality} inputs, not {own.modality}"
    if reason := modality_of(own.modality).misfit(own.preprocess, box.preprocess):
        return reason.replace("this explainer's", "its").replace("this explainer", "it")
    if box.num_classes != own.num_classes:
        return f"has {box.num_classes} classes, not {own.num_classes}"
    if (name := misplaced(box.class_names, own.class_names)) is not None:
        return f"has class {name!r} in another place"
    both = zip(box.class_names, own.class_names, strict=True)
    other = next(((a, b) for a, b in both if a.casefold() != b.casefold()), None)
    if other is not None and are_named(box.class_names) and are_named(own.class_names):
        return f"has a class {other[0]!r} where it has {other[1]!r}"
    return ""
