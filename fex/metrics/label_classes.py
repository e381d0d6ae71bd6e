"""Whether labels count the same classes as the black box, for protocols that score them."""

from collections.abc import Sequence
from typing import Any

from fex.black_box import BlackBox
from fex.black_box.classes import are_named, misplaced
from fex.metrics.protocols import get_protocol

__all__ = ["check_labels"]


def check_labels(black_box: BlackBox, data: Any, protocols: Sequence[str]) -> list[str]:
    """Protocols that score labels compare them with the box's answers by number.

    Returns:
        A warning where both have names, which differ, but none contradicts.

    Raises:
        ValueError: the data has another number of classes than the box, or both have one in different places.
    """
    own, names = black_box.class_names, getattr(data, "class_names", None)
    asking = [name for name in protocols if "labels" in get_protocol(name).needs]
    if names is None or not asking:
        return []
    name = misplaced(own, names)
    if len(names) != len(own) or name is not None:
        counts = f"{len(names)} classes and the black box {len(own)}"
        why = counts if name is None else f"class {name!r} in another place than the black box ({counts})"
        raise ValueError(
            f"Protocol {asking[0]} compares labels with answers by number, but the data has {why}: give both the same "
            "`class_names` in one order, or score predictions (fex, chefer_predicted)."
        )
    if not are_named(own) or [each.casefold() for each in own] == [each.casefold() for each in names]:
        return []
    first = next(n for n, (a, b) in enumerate(zip(own, names, strict=True)) if a.casefold() != b.casefold())
    return [
        f"Protocol {asking[0]} compares labels with answers by number; class {first} is {own[first]!r} to the black "
        f"box and {names[first]!r} to the data."
    ]
