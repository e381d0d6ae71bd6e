"""Classes by name or index."""

import difflib
from collections.abc import Sequence
from numbers import Integral
from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["Target", "class_index", "class_indices", "one_class_each"]

Target = Tensor | int | str | Sequence[int] | Sequence[str]

_UNKNOWN = "Got target {}, expected the index of a class, a whole number, or its name."


def class_indices(target: Any, names: Sequence[str] = ()) -> Tensor:
    """Classes given by name or index, one or several, as int64 of the same shape.

    Indices are not checked against the number of classes: only the caller knows it where classes have no names.

    Raises:
        ValueError: an unknown name; names where there are none to compare with; True, 3.7, or a tensor of such.

    Example:
        >>> class_indices(["Cat", "dog"], ["dog", "cat"]).tolist(), class_indices(3).tolist()
        ([1, 0], 3)
    """
    if isinstance(target, np.ndarray) and target.dtype.kind in "UO":
        target = target.tolist()
    if isinstance(target, str):
        return torch.tensor(class_index(target, names))
    if isinstance(target, list | tuple) and any(isinstance(one, str) for one in target):
        return torch.tensor([class_index(one, names) for one in target])
    if isinstance(target, Tensor):
        whole = not (target.is_floating_point() or target.is_complex() or target.dtype == torch.bool)
    else:
        whole = np.asarray(target).dtype.kind in "iu" and not _has_bool(target)
    if not whole:
        raise ValueError(_UNKNOWN.format(repr(target)))
    return torch.as_tensor(np.asarray(target) if not isinstance(target, Tensor) else target).to(torch.int64)


def _has_bool(target: Any) -> bool:
    """Whether a list holds True or False, which numpy takes for 1 and 0 beside numbers."""
    return isinstance(target, bool | np.bool_) or (isinstance(target, list | tuple) and any(map(_has_bool, target)))


def one_class_each(target: Any, names: Sequence[str] = ()) -> Tensor:
    """`class_indices` of one class for all inputs or one each, as (1,) or (B,), int64.

    Raises:
        ValueError: see there; several an input, such as the rows of a one-hot matrix.
    """
    found = class_indices(target, names)
    if found.ndim > 2 or (found.ndim == 2 and found.shape[1] != 1):
        raise ValueError(
            f"Got targets of shape {tuple(found.shape)}, expected one class for all inputs or one each, (B,): give the "
            "indices of the classes; those of a one-hot matrix are its `argmax(1)`."
        )
    return found.reshape(-1)


def class_index(target: str | int, names: Sequence[str]) -> int:
    """Index of a class given by its name (case does not matter), or by its index, as a number or as text.

    A name wins over an index: where classes are named "3" or "2024", those are names.

    Raises:
        ValueError: no such class; names the closest, or the range. Several classes of that name; gives their indices.
            Neither a name nor a whole number.

    Example:
        >>> class_index("Cat", ["dog", "cat"]), class_index("0", ["dog", "cat"])
        (1, 0)
    """
    if isinstance(target, bool) or not isinstance(target, str | Integral):
        raise ValueError(_UNKNOWN.format(repr(target)))
    wanted = str(target).strip().lower()
    known = [name.lower() for name in names]
    if not isinstance(target, Integral) and wanted in known:
        if known.count(wanted) > 1:
            indices = [str(index) for index, name in enumerate(known) if name == wanted]
            raise ValueError(f"Classes {' and '.join(indices)} are both named {target!r}: give the index.")
        return known.index(wanted)
    if wanted.removeprefix("-").isdecimal():
        index = int(wanted)
        if not 0 <= index < len(names):
            raise ValueError(f"Class {index} is outside 0 ... {len(names) - 1}: there are {len(names)} classes.")
        return index
    if _is_number(wanted):
        raise ValueError(f"Got the class {target!r}: a class is a name or a whole number, 0 ... {len(names) - 1}.")
    near = difflib.get_close_matches(wanted, known, n=3, cutoff=0.4)
    # Long names of many synonyms are far from each of them: one that holds the word is near too.
    near += [name for name in known if wanted and wanted in name and name not in near][:3]
    shown = [names[known.index(name)] for name in near or known[:5]]
    raise ValueError(f"Unknown class {target!r}. Closest of the {len(names)} classes: {', '.join(shown)}.")


def _is_number(text: str) -> bool:
    """Whether it is a number such as 1.5, 1e3 or -0.5."""
    try:
        float(text)
    except ValueError:
        return False
    return any(sign.isdigit() for sign in text)  # "nan" and "inf" may be meant as words
