"""The black box of a run, on the device of the run."""

import torch
from lightning.pytorch.utilities import rank_zero_info

from fex.black_box import BlackBox
from fex.black_box.compiler import told_compiler

__all__ = ["bring_box"]


def bring_box(black_box: BlackBox, device: torch.device) -> None:
    """Moves the box, and says once what compiles its network there."""
    black_box.to(device)
    if told := told_compiler(black_box):
        rank_zero_info(told)
