"""What stands in for a removed token of a text: a mask token, or nothing.

Inputs are token ids (B, L), padded on the right; `mean` is the black box's `neutral`, (mask id, padding id).
"""

import torch
from torch import Tensor

from fex.modality import Removal

__all__ = ["DropToken", "MaskToken"]


class MaskToken(Removal):
    """The model's own mask token (``[MASK]``): the length and every position stay as they are."""

    name = "mask token"
    constant = False  # the blank text is as long as the text
    modality = "text"

    def __call__(self, inputs: Tensor, mean: Tensor) -> Tensor:
        """The mask id, (1, 1).

        Raises:
            ValueError: the tokenizer has no mask token.
        """
        if int(mean[0]) < 0:
            raise ValueError(
                "The black box's tokenizer has no mask token: use DropToken, or name one in its TextPreprocess."
            )
        return inputs.new_full((1, 1), int(mean[0]))

    def place(self, inputs: Tensor, fill: Tensor, keep: Tensor) -> Tensor:
        """Ids (R, L) where `keep` is True, else the fill."""
        return torch.where(keep, inputs, fill)


class DropToken(Removal):
    """Removed tokens leave, and what is kept moves together, as ERASER's measures do."""

    name = "drop"
    constant = False  # pairs keep one more special token than single texts
    modality = "text"

    def __call__(self, inputs: Tensor, mean: Tensor) -> Tensor:
        """The padding id, (1, 1)."""
        return inputs.new_full((1, 1), int(mean[1]))

    def place(self, inputs: Tensor, fill: Tensor, keep: Tensor) -> Tensor:
        """The kept ids in their order, then the padding, (R, L)."""
        order = (~keep).to(torch.uint8).argsort(dim=1, stable=True)
        return torch.where(keep, inputs, fill).gather(1, order)
