"""A network's maps, averaged over masked copies of the input: what each feature counts for in many contexts."""

import torch
from torch import Tensor

from fex.masking import Masker
from fex.nets.explainer import ExplainerNet

__all__ = ["logits_in_contexts"]


def logits_in_contexts(net: ExplainerNet, masker: Masker, inputs: Tensor, target: Tensor, masks: Tensor) -> Tensor:
    """Logits of the mask policy, of each feature the mean over the masked copies that keep it.

    One pass sees what a feature counts for beside all others. In copies that lack some of these it also sees what it
    counts for where its like is gone, as a Shapley value does, with all N features told by each pass. A feature that no
    copy keeps has its logit of the whole input.

    Args:
        net: built.
        masker: applies the masks.
        inputs: (B, ...).
        target: classes (B, K).
        masks: (B, P, N), 1 keeps; P passes of the network an input, in chunks of B rows.

    Returns:
        (B, K, N), float32, with the level that a class has in the whole input.
    """
    encoded = net.encode(inputs)
    whole = net.target_scores(encoded, target)
    total, count = torch.zeros_like(whole), masks.new_zeros(len(inputs), 1, masks.shape[2])
    for mask in masks.unbind(1):
        kept = mask.unsqueeze(1)
        total += net.target_scores(net.encode(masker(inputs, kept)), target) * kept
        count += kept
    level = net.target_logits(encoded, target) - whole
    return torch.where(count > 0, total / count.clamp_min(1), whole) + level
