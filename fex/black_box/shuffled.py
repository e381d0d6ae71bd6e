"""A black box that has forgotten what it learnt."""

import copy
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from fex.black_box.base import BlackBox

__all__ = ["shuffled_box"]

_MADE: "WeakKeyDictionary[BlackBox, dict[int, BlackBox]]" = WeakKeyDictionary()


def shuffled_box(black_box: BlackBox, seed: int = 0) -> BlackBox:
    """A copy of the box with the entries of each weight tensor permuted.

    Permuting keeps each tensor's distribution whatever the architecture, so that the copy's activations stay in
    range; but for networks with BatchNorm, which goes on with the statistics of the trained network. The copy is
    made once for a box and a seed, and goes with the box.

    Args:
        black_box: a box that has a `module`; it is left as it was.
        seed: of the permutations.

    Raises:
        TypeError: a box that can only be queried.
    """
    _ = black_box.module
    made = _MADE.setdefault(black_box, {})
    if seed not in made:
        box = copy.deepcopy(black_box)
        box.name, box.queries = f"{black_box.name} (shuffled weights)", 0
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in box.module.parameters():
                parameter.copy_(_permuted(parameter, generator))
        made[seed] = box
    return made[seed]


def _permuted(values: Tensor, generator: torch.Generator) -> Tensor:
    order = torch.randperm(values.numel(), generator=generator).to(values.device)
    return values.flatten()[order].view_as(values)
