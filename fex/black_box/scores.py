"""What a black box answers: finds the scores, checks that they are probabilities, picks the class to explain."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from fex.class_names import Target, one_class_each
from fex.errors import warn_once

__all__ = [
    "SUMS",
    "Outputs",
    "both_logits",
    "both_probabilities",
    "check_probabilities",
    "columns",
    "find_scores",
    "resolve_target",
    "score_table",
    "to_probabilities",
]

Outputs = Literal["probabilities", "logits"]
SUMS = 0.02  # how far from 1 rows of exclusive classes may sum: bf16 and rounded JSON stay below


def find_scores(answer: Any, *, rows: int, num_classes: int, name: str) -> Any:
    """The scores in what a network or a function returned.

    `answer.logits` or `answer["logits"]`, the only entry of a dict, the first array of a tuple or list that is as large
    as scores are (said once where several are); anything else is returned as it is.

    Args:
        answer: what was returned.
        rows: number of inputs.
        num_classes: C.
        name: the black box, for the error.

    Raises:
        ValueError: a dict of several entries, none of which is called "logits".
    """
    if isinstance(answer, Mapping):
        if "logits" not in answer and len(answer) != 1:
            raise ValueError(
                f"Black box {name!r} returned a dict with the keys {list(answer)}, expected one to be 'logits'. "
                "Wrap the model in a function that returns the scores alone: CallableBlackBox."
            )
        return answer["logits"] if "logits" in answer else next(iter(answer.values()))
    if not isinstance(answer, Tensor) and isinstance(getattr(answer, "logits", None), Tensor):
        return answer.logits
    if not isinstance(answer, tuple | list):
        return answer
    arrays = [part for part in answer if isinstance(part, Tensor | np.ndarray) and part.ndim]
    if not arrays:
        return answer
    if len(arrays) == rows and all(part.shape == (num_classes,) for part in arrays) and isinstance(answer, list):
        return torch.stack([torch.as_tensor(part) for part in arrays])  # a list of rows
    one = ((rows, 1), (rows,)) if num_classes in (1, 2) else ()
    fitting = [part for shape in ((rows, num_classes), *one) for part in arrays if tuple(part.shape) == shape]
    if not num_classes:  # nobody has said how many: each table of a row an input may be it
        fitting = [part for part in arrays if part.ndim == 2 and len(part) == rows]
    chosen = (fitting or arrays)[0]
    if sum(part.shape == chosen.shape or not num_classes for part in fitting) > 1:
        shapes = ", ".join(f"({', '.join(['B', *map(str, part.shape[1:])])})" for part in arrays)
        warn_once(
            f"Black box {name!r} returned {len(arrays)} arrays of shapes {shapes}, several of which fit scores: the "
            "first that fits is taken. If it is another, wrap the model in a function that returns the scores alone."
        )
    return chosen


def score_table(answer: Any, *, rows: int, num_classes: int, name: str) -> Tensor:
    """What a network returned as scores (R, C); one number an input as (R, 1). Arguments as of `find_scores`.

    Raises:
        ValueError: no tensor of scores in it, or one that is a single number.
    """
    found = find_scores(answer, rows=rows, num_classes=num_classes, name=name)
    if not isinstance(found, Tensor) or found.ndim == 0:
        what = "single number" if isinstance(found, Tensor) else f"{type(answer).__name__} without a tensor of logits"
        raise ValueError(
            f"Black box {name!r} returned a {what}, expected ({rows}, {num_classes or 'C'}): one row an input. Wrap it "
            "in a function that returns them: CallableBlackBox."
        )
    return columns(found, rows)


def columns(scores: Tensor, rows: int) -> Tensor:
    """Scores of one number an input (R,) as (R, 1), of all-convolutional networks (R, C, 1, 1) as (R, C)."""
    if scores.ndim == 1 and len(scores) == rows:
        return scores[:, None]
    return scores.flatten(1) if scores.ndim > 2 and scores.shape[2:].numel() == 1 else scores


def both_logits(logits: Tensor) -> Tensor:
    """One logit z of two classes, (R, 1), as those of both, (0, z); others as they are."""
    return torch.cat([torch.zeros_like(logits), logits], 1) if logits.ndim == 2 and logits.shape[1] == 1 else logits


def both_probabilities(positive: Tensor) -> Tensor:
    """The second class's probability p, (R, 1), as those of both, (1 - p, p); others as they are."""
    one = positive.ndim == 2 and positive.shape[1] == 1
    return torch.cat([1 - positive, positive], 1) if one else positive


def check_probabilities(
    probabilities: Tensor, *, rows: int, num_classes: int, name: str, multi_label: bool = False
) -> Tensor:
    """Returns `probabilities` (rows, C) as float32, or refuses them by name.

    Raises:
        ValueError: NaN or infinite scores, another shape, values outside [0, 1], or rows of exclusive classes that
            do not sum to 1, within `SUMS`.
    """
    if probabilities.shape != (rows, num_classes):
        turned = probabilities.shape == (num_classes, rows)
        advice = "They are transposed: return one row an input." if turned else "Check num_classes or class_names."
        raise ValueError(
            f"Black box {name!r} returned shape {tuple(probabilities.shape)}, expected ({rows}, {num_classes}): one "
            f"row an input and one column for each of its {num_classes} classes. {advice}"
        )
    probabilities = probabilities.float()
    if rows == 0:
        return probabilities
    low, high = probabilities.aminmax()
    if not bool(torch.isfinite(low + high)):
        bad = int((~torch.isfinite(probabilities)).any(1).sum())
        raise ValueError(
            f"Black box {name!r} returned NaN or infinite scores for {bad} of {rows} inputs, expected probabilities "
            "in [0, 1]. Check its weights and its precision (fp16 overflows where bf16 does not)."
        )
    if low < -1e-3 or high > 1 + 1e-3:
        raise ValueError(
            f"Black box {name!r} returned values in [{float(low):.3g}, {float(high):.3g}], expected probabilities in "
            "[0, 1]. They look like logits: apply softmax (or set `outputs: logits` where the adapter has it)."
        )
    if not multi_label:
        sums = probabilities.sum(1)
        worst = float(sums[(sums - 1).abs().argmax()])
        if abs(worst - 1) > SUMS:
            raise ValueError(
                f"Black box {name!r} returned rows that sum to {worst:.3g}, expected 1 (within {SUMS}), as "
                "probabilities of exclusive classes do. If these are logits, set `outputs: logits` (softmax); if its "
                "classes are not exclusive, set `multi_label: true`; if they are rounded or lack a class, divide each "
                "row by its sum."
            )
    return probabilities


def to_probabilities(scores: Tensor, *, outputs: Outputs, multi_label: bool, name: str) -> Tensor:
    """Scores (R, C), as a foreign classifier gives them, as probabilities (R, C), float32.

    One logit of two classes (R, 1) becomes the probability of the second, (R, 1).

    Args:
        scores: what it returned.
        outputs: what it says they are; logits go through softmax, or sigmoid where `multi_label`.
        multi_label: classes are not exclusive.
        name: the black box, for the error.

    Raises:
        ValueError: "logits" of two inputs and more that are probabilities already: a second softmax would flatten
            them in silence.
    """
    if outputs == "probabilities" or scores.ndim != 2:  # another rank is refused by `check_probabilities`
        return scores.float()
    logits = scores.float()
    if multi_label or logits.shape[1] == 1:
        return logits.sigmoid()
    # Logits of one row and two classes may sum to 1 by chance.
    if len(logits) > 1 and bool((logits >= 0).all() & ((logits.sum(1) - 1).abs() < 1e-3).all()):
        raise ValueError(
            f"Black box {name!r} was said to return logits, but its rows are in [0, 1] and sum to 1: they are "
            "probabilities already. Set `outputs: probabilities`."
        )
    return logits.softmax(1)


def check_outputs(outputs: str) -> None:
    """Refuses an unknown kind of outputs."""
    if outputs not in ("probabilities", "logits"):
        raise ValueError(f"Got outputs={outputs!r}, expected 'probabilities' or 'logits'.")


def resolve_target(target: Target | None, probabilities: Tensor, class_names: Sequence[str] = ()) -> Tensor:
    """Target classes as (B,) int64: given, one for all, or the predicted ones.

    Args:
        target: index or name of a class, or one each.
        probabilities: (B, C); only their shape counts where a target is given.
        class_names: of the C classes, where names are to be understood.

    Raises:
        ValueError: a class outside [0, C), an unknown name, no whole number, several an input, or not B of them.
    """
    batch, classes = probabilities.shape
    if target is None:
        return probabilities.argmax(1)
    chosen = one_class_each(target, class_names).to(probabilities.device)
    chosen = chosen.expand(batch) if chosen.numel() == 1 else chosen
    if len(chosen) != batch:
        raise ValueError(f"Got {len(chosen)} targets for {batch} inputs, expected one class each or one for all.")
    if batch and not bool(((chosen >= 0) & (chosen < classes)).all()):
        raise ValueError(f"Target {chosen.tolist()} is outside the {classes} classes 0 ... {classes - 1}.")
    return chosen
