"""Whether two lists of class names count the same classes: scores are compared by number alone."""

from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral
from typing import Any

__all__ = ["are_named", "as_names", "both_names", "chosen_names", "misplaced", "names_of"]


def as_names(names: Sequence[str | int]) -> list[str]:
    """Class names as text; whole numbers are names too.

    Raises:
        ValueError: one text in place of a list, or names that are neither text nor whole numbers.
    """
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise ValueError(f"Got class_names={names!r}, expected a list with one name a class.")
    odd = [name for name in names if isinstance(name, bool) or not isinstance(name, str | Integral)]
    if odd:
        raise ValueError(
            f"Got the class name {odd[0]!r} of type {type(odd[0]).__name__}, expected text. YAML reads yes, no, on, "
            "off and null as other things: put them in quotes."
        )
    return [str(name) for name in names]


def both_names(names: Sequence[str]) -> list[str]:
    """Names of the two classes, [negative, positive], of a classifier with one score.

    Raises:
        ValueError: more than two names.

    Example:
        >>> both_names([]), both_names(["cat"]), both_names(["dog", "cat"])
        (['0', '1'], ['not cat', 'cat'], ['dog', 'cat'])
    """
    if len(names) > 2:
        raise ValueError(
            f"Got {len(names)} class_names for a classifier with one score, expected the names of its two classes, "
            "[negative, positive], or that of the positive one."
        )
    return list(names) if len(names) == 2 else [f"not {names[0]}", names[0]] if names else ["0", "1"]


def names_of(id2label: Mapping[Any, Any], source: str) -> list[str]:
    """Class names in the order of the scores from a transformers config, whose ids begin at 0 or at 1.

    Raises:
        ValueError: ids that are not consecutive: which score is whose is not known.
    """
    ids = sorted(int(index) for index in id2label)
    first = ids[0] if ids else 0
    if first not in (0, 1) or ids != list(range(first, first + len(ids))):
        raise ValueError(
            f"The config of {source!r} has id2label with the ids {ids[:10]}, expected 0 ... C - 1: set `class_names`, "
            "one name a class in the order of the scores."
        )
    named = {int(index): str(label) for index, label in id2label.items()}
    return [named[index] for index in ids]


def chosen_names(given: Sequence[str] | None, own: Sequence[str] | None) -> Sequence[str] | None:
    """Class names of a model: those given, or else its own.

    Raises:
        ValueError: its own names in another order, which would swap classes; others rename them, and are taken.

    Example:
        >>> chosen_names(None, ["cat", "dog"]), chosen_names(["Katze", "Hund"], ["cat", "dog"])
        (['cat', 'dog'], ['Katze', 'Hund'])
    """
    if not given or not own or not isinstance(given, Sequence):  # what is no list is refused by the box
        return given or own
    wanted, known = ([str(name).casefold() for name in names] for names in (given, own))
    if are_named(own) and wanted != known and sorted(wanted) == sorted(known):
        shown = ", ".join(own[:10]) + ", ..." * (len(own) > 10)
        raise ValueError(
            f"Got class_names that are the model's own names in another order: its scores are those of {shown}. Leave "
            "`class_names` out, or, if the model's names are wrong, correct them in its config."
        )
    return given


def are_named(names: Sequence[str]) -> bool:
    """Whether these are names, and not only the numbers that stand for them."""
    return list(names) != [str(number) for number in range(len(names))]


def misplaced(own: Sequence[str], other: Sequence[str]) -> str | None:
    """A class that both have in other places, whatever its case; None where no name contradicts.

    Example:
        >>> misplaced(["cat", "dog"], ["Dog", "Cat"]), misplaced(["cat", "dog"], ["Katze", "Hund"])
        ('cat', None)
    """
    if not are_named(own) or not are_named(other):
        return None
    places: dict[str, set[int]] = {}  # two classes may have one name, as the cranes of ImageNet
    for place, name in enumerate(other):
        places.setdefault(name.casefold(), set()).add(place)
    return next((name for place, name in enumerate(own) if place not in places.get(name.casefold(), {place})), None)
