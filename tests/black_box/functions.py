"""Functions that tests name by their import path."""

import torch

NOT_A_FUNCTION = 3


def brightness(inputs):
    one = inputs.mean((1, 2, 3))
    return torch.stack([1 - one, one], 1)
