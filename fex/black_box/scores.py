"""What a black box answers: checks that it is probabilities, and picks the class to explain."""

from typing import Literal

import torch
from torch import Tensor

__all__ = ["Outputs", "check_probabilities", "resolve_target", "to_probabilities"]

Outputs = Literal["probabilities", "logits"]


def check_probabilities(
    probabilities: Tensor, *, rows: int, num_classes: int, name: str, multi_label: bool = False
) -> Tensor:
    """Returns `probabilities` (rows, C) as float32, or refuses them by name.

    Raises:
        ValueError: NaN or infinite scores, another shape, values outside [0, 1], or rows that do not sum to 1.
    """
    if probabilities.shape != (rows, num_classes):
        raise ValueError(
            f"Black box {name!r} returned shape {tuple(probabilities.shape)}, expected ({rows}, {num_classes}): one "
            f"row an input and one column for each of its {num_classes} classes. Check num_classes or class_names."
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
        if abs(worst - 1) > 0.05:  # bf16 and rounded JSON stay well below
            raise ValueError(
                f"Black box {name!r} returned rows that sum to {worst:.3g}, expected 1. If these are logits, set "
                "`outputs: logits`; if its classes are not exclusive, set `multi_label: true`."
            )
    return probabilities


def to_probabilities(scores: Tensor, *, outputs: Outputs, multi_label: bool, name: str) -> Tensor:
    """Scores (R, C), as a foreign classifier gives them, as probabilities (R, C), float32.

    Args:
        scores: what it returned.
        outputs: what it says they are; logits go through softmax, or sigmoid where `multi_label`.
        multi_label: classes are not exclusive.
        name: the black box, for the error.

    Raises:
        ValueError: "logits" that are probabilities already: a second softmax would flatten them in silence.
    """
    if outputs == "probabilities" or scores.ndim != 2:  # another rank is refused by `check_probabilities`
        return scores.float()
    logits = scores.float()
    if multi_label:
        return logits.sigmoid()
    if len(logits) and logits.shape[1] > 1 and bool((logits >= 0).all() & ((logits.sum(1) - 1).abs() < 1e-3).all()):
        raise ValueError(
            f"Black box {name!r} was said to return logits, but its rows are in [0, 1] and sum to 1: they are "
            "probabilities already. Set `outputs: probabilities`."
        )
    return logits.softmax(1)


def check_outputs(outputs: str) -> None:
    """Refuses an unknown kind of outputs."""
    if outputs not in ("probabilities", "logits"):
        raise ValueError(f"Got outputs={outputs!r}, expected 'probabilities' or 'logits'.")


def resolve_target(target: Tensor | int | None, probabilities: Tensor) -> Tensor:
    """Target classes as (B,) int64: given, one for all, or the predicted ones.

    Raises:
        ValueError: a class outside [0, C), or a count that is not B.
    """
    batch, classes = probabilities.shape
    if target is None:
        return probabilities.argmax(1)
    chosen = torch.as_tensor(target, dtype=torch.int64, device=probabilities.device).reshape(-1)
    chosen = chosen.expand(batch) if chosen.numel() == 1 else chosen
    if len(chosen) != batch:
        raise ValueError(f"Got {len(chosen)} targets for {batch} inputs, expected one class each or one for all.")
    if batch and not bool(((chosen >= 0) & (chosen < classes)).all()):
        raise ValueError(f"Target {chosen.tolist()} is outside the {classes} classes 0 ... {classes - 1}.")
    return chosen
