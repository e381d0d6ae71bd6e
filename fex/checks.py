"""Checks of what an explainer is given: errors instead of silent wrong numbers."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from fex.class_names import Target, class_indices
from fex.texts.tokenized import Text, TokenizedText

__all__ = ["NoTokensError", "as_targets", "check_choice", "check_inputs", "check_tokens", "differences"]


class NoTokensError(ValueError):
    """A text of which no token is left to explain."""


def check_inputs(inputs: Tensor, size: tuple[int, int]) -> None:
    """Inputs must be (B, 3, H, W), RGB in [0, 1], or have other channels, which the encoder counts.

    Raises:
        ValueError: another shape or range.
    """
    if inputs.ndim != 4 or tuple(inputs.shape[2:]) != size:
        raise ValueError(
            f"Got inputs of shape {tuple(inputs.shape)}, expected (B, 3, {size[0]}, {size[1]}) in [0, 1]; "
            "`.preprocess(image)` gives one of them, stack them."
        )
    if inputs.numel() == 0:
        return
    low, high = inputs.aminmax()
    if not bool((low >= -0.01) & (high <= 1.01)):  # NaN fails too; a hundredth is left for augmentation and resizing
        raise ValueError(
            f"Got pixels in [{float(low):.3g}, {float(high):.3g}], expected RGB in [0, 1]. The explainer normalises by "
            "itself: give it pictures that are not normalised yet."
        )


def check_choice(target: str | int | None, top_k: int, num_classes: int) -> None:
    """Either a class is named, or the `top_k` likeliest are explained.

    Raises:
        ValueError: both, or more classes than there are.
    """
    if target is not None and top_k != 1:
        raise ValueError(f"Got target {target!r} and top_k={top_k}: give one of the two.")
    if not 1 <= top_k <= num_classes:
        raise ValueError(f"top_k must lie in 1 ... {num_classes}, the number of classes; got {top_k}.")


def as_targets(target: Target, rows: int, class_names: Sequence[str]) -> Tensor:
    """One class for all, one each (B,), or K each (B, K), by index or name -> (B, K), int64.

    Raises:
        ValueError: another number of them, or a class that does not exist.
    """
    num_classes, chosen = len(class_names), class_indices(target, class_names)
    if chosen.ndim < 2:
        chosen = chosen.reshape(-1, 1)
        chosen = chosen.expand(rows, 1) if len(chosen) == 1 else chosen
    if len(chosen) != rows:
        raise ValueError(f"Got {len(chosen)} targets for {rows} inputs, expected one each or one for all.")
    if chosen.numel() and not (int(chosen.min()) >= 0 and int(chosen.max()) < num_classes):
        raise ValueError(f"Target {chosen.flatten().tolist()} is outside the {num_classes} classes.")
    return chosen


def check_tokens(text: Text, rows: Sequence[TokenizedText]) -> None:
    """A text, as one row or as several windows, must have tokens.

    Raises:
        NoTokensError: it has none.
    """
    if not any(row.has_tokens for row in rows):
        raise NoTokensError(f"The text {text!r:.80} has no tokens to explain: give one with visible characters.")


def differences(name: str, there: Any, here: Any) -> list[str]:
    """What differs between two plain descriptions, one phrase each; nothing where they are equal.

    Example:
        >>> differences("net", {"dim": 8, "args": {"depth": 1}}, {"dim": 8, "args": {"depth": 2}})
        ['net.args.depth is 1 there and 2 here']
    """
    if there == here:
        return []
    if isinstance(there, dict) and isinstance(here, dict):
        keys = sorted(there.keys() | here.keys())
        return [line for key in keys for line in differences(f"{name}.{key}", there.get(key), here.get(key))]
    if isinstance(there, list) and isinstance(here, list):
        if len(there) != len(here):
            return [f"{name} has {len(there)} entries there and {len(here)} here"]
        first = next(i for i, (a, b) in enumerate(zip(there, here, strict=True)) if a != b)
        return [f"{name}[{first}] is {there[first]!r} there and {here[first]!r} here"]
    return [f"{name} is {there!r} there and {here!r} here"]
