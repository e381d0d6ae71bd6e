"""What other libraries do to pixels: they perturb them, and no box has an answer outside [0, 1]."""

import warnings

from torch import Tensor

__all__ = ["cut_to_range"]

SHARE = 1 / 3  # of values outside: less of it is noise about a picture


def cut_to_range(inputs: Tensor) -> Tensor:
    """Pixels, float, cut to [0, 1]; tokens as they are. A warning tells of more than a third outside."""
    if not inputs.is_floating_point():
        return inputs
    cut = inputs.clamp(0, 1)
    if float((cut != inputs).float().mean()) > SHARE:
        warnings.warn(
            "More than a third of the values lie outside [0, 1] and are cut to it: are the pictures normalised "
            "already, or is the noise that strong?",
            stacklevel=2,
        )
    return cut
