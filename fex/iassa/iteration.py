"""One iteration of IASSA."""

from dataclasses import dataclass

from torch import Tensor

__all__ = ["Iteration"]


@dataclass(frozen=True, eq=False)
class Iteration:
    """The map after an iteration; a user who is satisfied with it stops here.

    Attributes:
        number: 0, 1, ...
        attribution: S', (H, W), float32, in [0, 1].
        saliency: S before the attention, (H, W).
        window: side of its windows in pixels.
        stride: their step in pixels.
        queries: spent so far on this instance.
        change: relative change of S' since the iteration before; 1 in the first.
    """

    number: int
    attribution: Tensor
    saliency: Tensor
    window: int
    stride: float
    queries: int
    change: float
