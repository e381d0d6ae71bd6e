"""Occlusion (Zeiler and Fergus 2014): how much the score falls without a feature, or without a window of pixels.

Of texts it is known as leave one out (Li et al. 2016).
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from fex.baselines.base import check_images
from fex.baselines.queried import LinearInScores, masks_at_once, target_classes, weighted_scores
from fex.black_box.base import BlackBox
from fex.class_names import Target
from fex.images.features import PatchGrid
from fex.images.removal import Mean
from fex.masking.masker import Masker
from fex.modality import Features, Removal

__all__ = ["Occlusion", "SlidingWindow"]


class Occlusion(LinearInScores):
    """f_y(x) - f_y(x without feature n); spends N + 1 queries an instance, N its number of features.

    Args:
        black_box: any black box.
        features: patches or tokens.
        removal: fill of the removed feature; by default the mean colour, or the mask token.
    """

    def __init__(self, black_box: BlackBox, features: Features, removal: Removal | None = None) -> None:
        super().__init__(black_box, features, removal)

    def _design(self, count: int) -> tuple[Tensor, Tensor]:
        one = torch.eye(count)
        return torch.cat([torch.ones(1, count), 1 - one]), torch.cat([torch.ones(1, count), -one])


class SlidingWindow:
    """The mean fall of the score over the square windows that cover a pixel.

    Windows stand `stride` pixels apart, and one more at the far edge where they would leave a rest. Spends a query a
    window and one for the input.

    Args:
        black_box: any black box.
        removal: fill of the window; by default the mean colour.
        window: its side in pixels.
        stride: pixels from one window to the next, at most `window`.

    Raises:
        ValueError: a stride that leaves gaps; a window larger than the image.
    """

    def __init__(
        self, black_box: BlackBox, removal: Removal | None = None, *, window: int = 8, stride: int = 4
    ) -> None:
        if not 1 <= stride <= window:
            raise ValueError(f"SlidingWindow needs 1 <= stride <= window, got stride={stride} and window={window}.")
        check_images(self, black_box)
        self.black_box, self.removal = black_box, removal or Mean()
        self.window, self.stride = window, stride

    def attribute(self, inputs: Tensor, target: Target | None = None) -> Tensor:
        """Mean fall of the target's probability, (B, H, W), float32, signed."""
        size = (inputs.shape[-2], inputs.shape[-1])
        if self.window > min(size):
            raise ValueError(f"A window of {self.window} pixels does not fit an image of {size[0]} x {size[1]} pixels.")
        classes = target_classes(self.black_box, inputs, target)
        masker = Masker(PatchGrid(*size), self.removal, self.black_box.mean)  # every pixel is a feature
        full = inputs.new_ones(1, size[0] * size[1])
        clean = weighted_scores(self.black_box, masker, inputs, classes, [(full, full[:, :1])])[2]
        removed = ((1 - windows, windows) for windows in self._windows(inputs, size))
        total, covered, first = weighted_scores(self.black_box, masker, inputs, classes, removed)
        return (clean - first - total / covered).unflatten(1, size)

    def _windows(self, inputs: Tensor, size: tuple[int, int]) -> Iterator[Tensor]:
        """Indicators (M, H * W) of the windows, as many at a time as fit."""
        inside = []
        for side in size:
            starts = torch.tensor(sorted({*range(0, side - self.window, self.stride), side - self.window}))
            place = torch.arange(side) - starts.unsqueeze(1)
            inside.append(((place >= 0) & (place < self.window)).to(inputs.device, torch.float32))  # (starts, side)
        pairs = torch.cartesian_prod(*(torch.arange(len(part)) for part in inside))
        for rows, columns in (part.unbind(1) for part in pairs.split(masks_at_once(self.black_box, inputs))):
            yield (inside[0][rows, :, None] * inside[1][columns, None, :]).flatten(1)
