"""Whether a black box answers the same input alike, when asked again and whatever is asked beside it."""

import torch
from torch import Tensor

from fex.black_box.base import BlackBox

__all__ = ["ROUNDING", "STEADY_INPUTS", "check_steadiness", "steadiness"]

STEADY_INPUTS = 3  # different ones; each is asked three times
ROUNDING = 0.02  # of a probability, in another batch or on another processor


def steadiness(together: Tensor, again: Tensor, alone: Tensor) -> str:
    """What is wrong with the answers about the same inputs, (B, C) each; "" where nothing is.

    Args:
        together: of all inputs in one batch.
        again: of the same batch, asked once more.
        alone: of each input in a batch of its own.

    Example:
        >>> here = torch.tensor([[0.9, 0.1], [0.2, 0.8]])
        >>> steadiness(here, here, here), steadiness(here, here, here.flip(0))[:46]
        ('', 'gives other answers to the same input in anoth')
    """
    if float((together - again).abs().max()) > ROUNDING:
        return (
            "gives other answers to the same input when asked again (dropout or another draw is left on), so maps and "
            "scores change from run to run: switch it off"
        )
    if float((together - alone).abs().max()) > ROUNDING:
        return (
            "gives other answers to the same input in another batch (rows in another order, or batch normalisation in "
            "training mode), so maps and scores are wrong: make each row depend on its own input alone"
        )
    return ""


def check_steadiness(black_box: BlackBox, inputs: Tensor, answers: Tensor | None = None) -> str:
    """Asks a box about `STEADY_INPUTS` of some inputs, thrice each; one warning, or "" where it is steady.

    A box that is not counts as not `deterministic` from then on: what it has said is not remembered.

    Args:
        black_box: nine queries, or six where only two inputs differ; none where all are the same.
        inputs: (B, ...).
        answers: what it has said of them, where that is known, (B, C): those of different classes are asked first,
            since rows that are exchanged show only where they differ.
    """
    few = inputs[_different(inputs, answers)]
    if len(few) < 2:  # nothing is beside it
        return ""
    with black_box.bare():
        together = black_box(few)
        alone = torch.cat([black_box(row) for row in few.split(1)])
        found = steadiness(together, black_box(few), alone)
    if not found:
        return ""
    black_box.deterministic = False
    return f"Black box {black_box.name!r} {found}."


def _different(inputs: Tensor, answers: Tensor | None) -> list[int]:
    """Rows of different inputs, of different classes first; then by class, so that the first and last one differ."""
    classes = [0] * len(inputs) if answers is None else answers.argmax(1).tolist()
    order = sorted(range(len(inputs)), key=lambda row: classes.index(classes[row]) != row)
    rows: list[int] = []
    for row in order:
        if len(rows) < STEADY_INPUTS and not any(torch.equal(inputs[row], inputs[other]) for other in rows):
            rows.append(row)
    return sorted(rows, key=lambda row: classes[row])
