"""Masker: features + removal. The one place where a mask meets an input, and where masked inputs meet a black box."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from fex.features import PatchGrid
from fex.removal import Removal

if TYPE_CHECKING:
    from fex.black_box import BlackBox

__all__ = ["Masker", "masked_probabilities"]


@dataclass(frozen=True)
class Masker:
    """Puts masks (1 = kept, 0 = removed; soft values mix) on images.

    Args:
        features: N features and where they lie.
        removal: what stands in for a removed feature.
        mean: the black box's mean colour, (3,), in [0, 1].
    """

    features: PatchGrid
    removal: Removal
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)

    def fill(self, inputs: Tensor) -> Tensor:
        """The fill for `inputs` (B, 3, H, W), broadcastable against them."""
        return self.removal(inputs, torch.tensor(self.mean))

    def blank(self, inputs: Tensor) -> Tensor:
        """The inputs with every feature removed: (B, 3, H, W), or (1, 3, H, W) where the fill is constant."""
        fill = self.fill(inputs)
        return fill.expand(fill.shape[0], -1, *inputs.shape[-2:]).contiguous()

    def __call__(self, inputs: Tensor, masks: Tensor) -> Tensor:
        """Inputs (B, 3, H, W) and masks (B, K, N) -> (B * K, 3, H, W), instance by instance."""
        if masks.ndim != 3 or masks.shape[0] != inputs.shape[0]:
            raise ValueError(
                f"Got masks of shape {tuple(masks.shape)} for {inputs.shape[0]} inputs, expected (B, K, N) with "
                f"B = {inputs.shape[0]}."
            )
        rows = torch.arange(masks.shape[0], device=masks.device).repeat_interleave(masks.shape[1])
        return self.rows(inputs, self.fill(inputs), masks.flatten(0, 1), rows)

    def rows(self, inputs: Tensor, fill: Tensor, masks: Tensor, rows: Tensor) -> Tensor:
        """Masks (R, N) put on ``inputs[rows]`` -> (R, 3, H, W); what the chunked callers use."""
        size = (inputs.shape[-2], inputs.shape[-1])
        keep = self.features.expand(masks.to(inputs.dtype), size).unsqueeze(1)
        behind = fill if fill.shape[0] == 1 else fill[rows]
        return torch.lerp(behind.expand(len(rows), -1, *size), inputs[rows], keep)


@torch.no_grad()
def masked_probabilities(
    black_box: "BlackBox",
    masker: Masker,
    inputs: Tensor,
    masks: Tensor,
    target: Tensor | None = None,
    *,
    fill: Tensor | None = None,
) -> Tensor:
    """Queries the black box with every mask of every instance, never holding more than one chunk of masked inputs.

    Args:
        black_box: the box; spends B * K queries.
        masker: features and removal.
        inputs: (B, 3, H, W), float, RGB in [0, 1].
        masks: (B, K, N), bool or float, 1 = kept.
        target: (B,), int64; None returns every class.
        fill: ``masker.fill(inputs)``, for callers who ask more than once about the same inputs.

    Returns:
        Probabilities (B, K) of the target, or (B, K, C), float32.
    """
    batch, count = masks.shape[:2]
    if batch * count == 0:
        shape = (batch, count) if target is not None else (batch, count, black_box.num_classes)
        return inputs.new_zeros(shape, dtype=torch.float32)
    flat = masks.flatten(0, 1)
    rows = torch.arange(batch, device=inputs.device).repeat_interleave(count)
    fill = masker.fill(inputs) if fill is None else fill
    scores = []
    # The box may halve its own chunk when memory runs out, so it is asked anew each time.
    start = 0
    while start < len(rows) or not scores:  # no rows are asked about too, for their shape: that spends no query
        stop = min(start + black_box.chunk, len(rows))
        part = rows[start:stop]
        probabilities = black_box(masker.rows(inputs, fill, flat[start:stop], part))
        scores.append(probabilities if target is None else probabilities.gather(1, target[part, None]).squeeze(1))
        start = stop
    return torch.cat(scores).unflatten(0, (batch, count))
