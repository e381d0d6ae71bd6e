"""Which class an explanation is of, and what it says of that."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

__all__ = ["class_fields", "likeliest"]


def likeliest(scores: Tensor, top_k: int) -> Tensor:
    """The classes (B, top_k) of the largest scores (B, C), the largest first; among equals the first, as argmax."""
    return scores.argsort(dim=1, descending=True, stable=True)[:, :top_k]


def class_fields(
    index: int, class_names: Sequence[str], probability: Tensor, *, asked: bool, user: bool
) -> dict[str, Any]:
    """Fields of `fex.explanations.BaseExplanation` on the class.

    Args:
        index: of the class.
        class_names: of all.
        probability: of all, (C,).
        asked: whether that is the black box's answer, and not the explainer's estimate.
        user: whether the user chose the class, and not the largest probability.
    """
    whose = "black box" if asked else "explainer"
    return {
        "target": index,
        "target_name": class_names[index],
        "probability": float(probability[index]),
        "probability_of": whose,
        "chosen_by": "user" if user else whose,
    }
