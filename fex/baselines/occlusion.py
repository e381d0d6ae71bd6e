"""Occlusion, leave one out (Zeiler & Fergus 2014; Li et al. 2016 for texts): what the box loses without a feature."""

import torch
from torch import Tensor

from fex.baselines.base import FeatureExplainer
from fex.black_box.base import BlackBox, resolve_target
from fex.features import Features
from fex.masking import masked_probabilities, masker_for
from fex.removal import Removal

__all__ = ["LeaveOneOut"]


class LeaveOneOut(FeatureExplainer):
    """f_y(x) - f_y(x without the feature), for each feature.

    Spends one query a feature and one for the clean input.

    Args:
        black_box: any black box.
        features: patches or tokens.
        removal: fill of the removed feature; by default the mean colour, or the mask token.
    """

    def __init__(self, black_box: BlackBox, features: Features, removal: Removal | None = None) -> None:
        super().__init__(features)
        self.black_box, self.masker = black_box, masker_for(black_box, features, removal)

    def attribute_features(self, inputs: Tensor, target: Tensor | int | None = None) -> Tensor:
        """Scores (B, N) in [-1, 1]; 0 where there is no feature."""
        clean = self.black_box(inputs)
        classes = resolve_target(target, clean)
        valid = self.features.valid(inputs)
        scores = torch.zeros(len(inputs), self.features.count(inputs), device=inputs.device)
        for row in range(len(inputs)):  # one instance at a time: N masks of N features each
            own = torch.arange(scores.shape[1], device=inputs.device)
            own = own if valid is None else own[valid[row]]
            masks = torch.ones(1, len(own), scores.shape[1], device=inputs.device)
            masks[0, torch.arange(len(own)), own] = 0
            one = slice(row, row + 1)
            without = masked_probabilities(self.black_box, self.masker, inputs[one], masks, classes[one])
            scores[row, own] = clean[row, classes[row]] - without[0]
        return scores
