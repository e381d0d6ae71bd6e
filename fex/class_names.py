"""Classes by name or index."""

import difflib
from collections.abc import Sequence

__all__ = ["class_index"]


def class_index(target: str | int, names: Sequence[str]) -> int:
    """Index of a class given by its name (case does not matter), or by its index, as a number or as text.

    A name wins over an index: where classes are named "3" or "2024", those are names.

    Raises:
        ValueError: no such class; names the closest, or the range. Several classes of that name; gives their indices.

    Example:
        >>> class_index("Cat", ["dog", "cat"]), class_index("0", ["dog", "cat"])
        (1, 0)
    """
    wanted = str(target).strip().lower()
    known = [name.lower() for name in names]
    if not isinstance(target, int) and wanted in known:
        if known.count(wanted) > 1:
            indices = [str(index) for index, name in enumerate(known) if name == wanted]
            raise ValueError(f"Classes {' and '.join(indices)} are both named {target!r}: give the index.")
        return known.index(wanted)
    if wanted.removeprefix("-").isdecimal():
        index = int(wanted)
        if not 0 <= index < len(names):
            raise ValueError(f"Class {index} is outside 0 ... {len(names) - 1}: there are {len(names)} classes.")
        return index
    near = difflib.get_close_matches(wanted, known, n=3, cutoff=0.4)
    # Long names of many synonyms are far from each of them: one that holds the word is near too.
    near += [name for name in known if wanted and wanted in name and name not in near][:3]
    shown = [names[known.index(name)] for name in near or known[:5]]
    raise ValueError(f"Unknown class {target!r}. Closest of the {len(names)} classes: {', '.join(shown)}.")
