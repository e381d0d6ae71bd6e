"""Whether two lists of class names count the same classes: scores are compared by number alone."""

from collections.abc import Sequence

__all__ = ["are_named", "misplaced"]


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
