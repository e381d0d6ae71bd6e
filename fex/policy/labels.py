"""Which label of a multi-label answer a training step explains: not the strongest alone, all that are there in turn."""

import torch
from torch import Tensor

__all__ = ["draw_labels"]

PRESENT = 0.5  # probability above which a label is there
ANY_SHARE = 0.25  # of the draws that may fall on any label


def draw_labels(probabilities: Tensor, noise: Tensor) -> Tensor:
    """One label an instance: mostly one of those that are there, each as likely; sometimes any, by its probability.

    Where no label is there, all draws go by probability.

    Args:
        probabilities: of each label, independent of each other, (B, C).
        noise: (B,), uniform on [0, 1).

    Returns:
        (B,), int64, on the device of `probabilities`.
    """
    answers = probabilities.detach().double().cpu()
    any_label = torch.where(answers.sum(1, keepdim=True) > 0, answers, 1.0)
    any_label = any_label / any_label.sum(1, keepdim=True)
    present = (answers > PRESENT).double()
    count = present.sum(1, keepdim=True)
    mixed = (1 - ANY_SHARE) * present / count.clamp_min(1) + ANY_SHARE * any_label
    bounds = torch.where(count > 0, mixed, any_label).cumsum(1)
    place = noise.double().cpu().unsqueeze(1) * bounds[:, -1:]
    return torch.searchsorted(bounds, place, right=True).squeeze(1).to(probabilities.device)
