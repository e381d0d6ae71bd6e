"""What methods that only query share: sums over masks, weighted by the scores of the masked inputs."""

from collections.abc import Iterable

import torch
from torch import Tensor

from fex.baselines.base import FeatureExplainer
from fex.black_box.base import BlackBox, resolve_target
from fex.features import PatchGrid
from fex.masking import Masker, masked_probabilities
from fex.removal import Mean, Removal

__all__ = ["LinearInScores", "masks_at_once", "target_classes", "weighted_scores"]


def target_classes(black_box: BlackBox, inputs: Tensor, target: Tensor | int | None) -> Tensor:
    """Classes (B,), int64; only an unnamed target costs a query of the clean input."""
    clean = black_box(inputs) if target is None else inputs.new_zeros(len(inputs), black_box.num_classes)
    return resolve_target(target, clean)


def masks_at_once(black_box: BlackBox, inputs: Tensor) -> int:
    """How many masks of every instance fit into one chunk."""
    return max(1, black_box.chunk // max(1, len(inputs)))


def weighted_scores(
    black_box: BlackBox, masker: Masker, inputs: Tensor, target: Tensor, parts: Iterable[tuple[Tensor, Tensor]]
) -> tuple[Tensor, Tensor]:
    """sum_k f_y(m_k x) w_k and sum_k w_k, as the masks come.

    Args:
        black_box: spends B queries a mask.
        masker: features and removal.
        inputs: (B, 3, H, W).
        target: (B,), int64.
        parts: masks (M, N) in [0, 1] with their weights (M, D), together K masks; the same for all instances.

    Returns:
        (B, D) and (D,), float32; of no masks, zeros that broadcast.
    """
    fill = masker.fill(inputs)
    total, weight = inputs.new_zeros(len(inputs), 1, dtype=torch.float32), inputs.new_zeros(1, dtype=torch.float32)
    # In a loop under bf16 autocast, the product would round the scores, and ties in a map are a silent Random.
    with torch.autocast(inputs.device.type, enabled=False):
        for masks, weights in parts:
            each = masks.unsqueeze(0).expand(len(inputs), -1, -1)
            total = total + masked_probabilities(black_box, masker, inputs, each, target, fill=fill) @ weights
            weight = weight + weights.sum(0)
    return total, weight


class LinearInScores(FeatureExplainer):
    """Attributions that are a fixed linear map of the scores of fixed masks: phi_n = sum_k f_y(m_k x) S_kn.

    Least squares with fixed masks and weights is such a map, whatever the input; it is computed once.

    Args:
        black_box: any black box.
        features: N features.
        removal: fill of what a mask removes; by default the mean colour.
        masks: (K, N), 1 = kept.
        solution: S, (K, N).
    """

    def __init__(
        self, black_box: BlackBox, features: PatchGrid, removal: Removal | None, masks: Tensor, solution: Tensor
    ) -> None:
        super().__init__(features)
        self.black_box, self.removal = black_box, removal or Mean()
        self.masker = Masker(features, self.removal, black_box.mean)
        self.masks, self.solution = masks.float(), solution.float()

    def attribute_features(self, inputs: Tensor, target: Tensor | int | None = None) -> Tensor:
        """Scores (B, N), float32, signed, in units of probability; K queries an instance, and one without a target."""
        classes = target_classes(self.black_box, inputs, target)
        step = masks_at_once(self.black_box, inputs)
        masks, solution = (part.to(inputs.device).split(step) for part in (self.masks, self.solution))
        parts = zip(masks, solution, strict=True)
        return weighted_scores(self.black_box, self.masker, inputs, classes, parts)[0]
