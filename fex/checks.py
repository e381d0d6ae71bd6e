"""Checks of what an explainer is given: errors instead of silent wrong numbers."""

import torch
from torch import Tensor

__all__ = ["as_targets", "check_inputs"]


def check_inputs(inputs: Tensor, size: tuple[int, int]) -> None:
    """Inputs must be (B, 3, H, W), RGB in [0, 1].

    Raises:
        ValueError: another shape or range.
    """
    if inputs.ndim != 4 or tuple(inputs.shape[1:]) != (3, *size):
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


def as_targets(target: Tensor | int, rows: int, num_classes: int) -> Tensor:
    """One class for all, one each (B,), or K each (B, K) -> (B, K), int64.

    Raises:
        ValueError: another number of them, or a class that does not exist.
    """
    chosen = torch.as_tensor(target, dtype=torch.int64)
    if chosen.ndim < 2:
        chosen = chosen.reshape(-1, 1)
        chosen = chosen.expand(rows, 1) if len(chosen) == 1 else chosen
    if len(chosen) != rows:
        raise ValueError(f"Got {len(chosen)} targets for {rows} inputs, expected one each or one for all.")
    if chosen.numel() and not (int(chosen.min()) >= 0 and int(chosen.max()) < num_classes):
        raise ValueError(f"Target {chosen.flatten().tolist()} is outside the {num_classes} classes.")
    return chosen
