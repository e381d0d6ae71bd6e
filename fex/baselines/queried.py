"""What methods that only query share: sums over masks, weighted by the scores of the masked inputs."""

from abc import abstractmethod
from collections.abc import Iterable

import torch
from torch import Tensor

from fex.baselines.base import FeatureExplainer
from fex.black_box.base import BlackBox, resolve_target
from fex.class_names import Target
from fex.masking.masker import Masker, masked_probabilities, masker_for
from fex.modality import Features, Removal

__all__ = ["LinearInScores", "QueryExplainer", "masks_at_once", "target_classes", "weighted_scores"]


def target_classes(black_box: BlackBox, inputs: Tensor, target: Target | None) -> Tensor:
    """Classes (B,), int64; only an unnamed target costs a query of the clean input."""
    known = target is not None
    clean = torch.zeros(len(inputs), black_box.num_classes, device=inputs.device) if known else black_box(inputs)
    return resolve_target(target, clean, black_box.class_names)


def masks_at_once(black_box: BlackBox, inputs: Tensor) -> int:
    """How many masks of every instance fit into one chunk."""
    return max(1, black_box.chunk // max(1, len(inputs)))


def weighted_scores(
    black_box: BlackBox, masker: Masker, inputs: Tensor, target: Tensor, parts: Iterable[tuple[Tensor, Tensor]]
) -> tuple[Tensor, Tensor, Tensor]:
    """sum_k (f_y(m_k x) - f_y(m_1 x)) w_k, sum_k w_k and f_y(m_1 x), as the masks come.

    Less the first score, so that a box that always answers the same has sums of 0, and not the rounding of sums of it,
    which would be a picture once a map is scaled.

    Args:
        black_box: spends B queries a mask.
        masker: features and removal.
        inputs: (B, ...), as the box takes them.
        target: (B,), int64.
        parts: masks (M, N) in [0, 1] with their weights (M, D), together K masks; the same for all instances.

    Returns:
        (B, D), (D,) and (B, 1), float32; of no masks, zeros that broadcast.
    """
    fill = masker.fill(inputs)
    first: Tensor | None = None
    total, weight = inputs.new_zeros(len(inputs), 1, dtype=torch.float32), inputs.new_zeros(1, dtype=torch.float32)
    # In a loop under bf16 autocast, the product would round the scores, and ties in a map are a silent Random.
    with torch.autocast(inputs.device.type, enabled=False):
        for masks, weights in parts:
            each = masks.unsqueeze(0).expand(len(inputs), -1, -1)
            scores = masked_probabilities(black_box, masker, inputs, each, target, fill=fill)
            first = scores[:, :1] if first is None else first
            total = total + (scores - first) @ weights
            weight = weight + weights.sum(0)
    return total, weight, total.new_zeros(len(inputs), 1) if first is None else first


class QueryExplainer(FeatureExplainer):
    """Scores features by queries about masked inputs.

    Args:
        black_box: any black box.
        features: patches or tokens.
        removal: fill of what a mask removes; by default the mean colour, or the mask token.
    """

    def __init__(self, black_box: BlackBox, features: Features, removal: Removal | None = None) -> None:
        super().__init__(features)
        self.black_box, self.masker = black_box, masker_for(black_box, features, removal)
        self.removal = self.masker.removal


class LinearInScores(QueryExplainer):
    """Attributions that are a fixed linear map of the scores of fixed masks: phi_n = sum_k f_y(m_k x) S_kn.

    Least squares with fixed masks and weights is such a map, whatever the input but the number of its features; and
    what always answers the same has attributions of 0: sum_k S_kn = 0. That of images is computed once; texts of the
    same number of tokens share one.

    Args:
        black_box: any black box.
        features: N features, patches or tokens.
        removal: fill of what a mask removes; by default the mean colour, or the mask token.

    Attributes:
        masks: (K, N) of an input with all N features, 1 = kept.
        solution: S, (K, N).
    """

    def __init__(self, black_box: BlackBox, features: Features, removal: Removal | None) -> None:
        super().__init__(black_box, features, removal)
        self.masks, self.solution = self._design(features.num_features)

    @abstractmethod
    def _design(self, count: int) -> tuple[Tensor, Tensor]:
        """Masks (K, n), 1 = kept, and S (K, n) of an input with n = `count` >= 1 features, float32."""

    def attribute_features(self, inputs: Tensor, target: Target | None = None) -> Tensor:
        """Scores (B, N), float32, signed, in units of probability; 0 where there is no feature.

        Spends a query a mask, and one more an instance without a target.
        """
        classes = target_classes(self.black_box, inputs, target)
        valid = self.features.valid(inputs)
        if valid is not None:
            return self._of_each_length(inputs, classes, valid)
        step = masks_at_once(self.black_box, inputs)
        masks, solution = (part.to(inputs.device).split(step) for part in (self.masks, self.solution))
        parts = zip(masks, solution, strict=True)
        return weighted_scores(self.black_box, self.masker, inputs, classes, parts)[0]

    def _of_each_length(self, inputs: Tensor, classes: Tensor, valid: Tensor) -> Tensor:
        """The same where instances have different numbers of features, `valid` (B, N)."""
        found = torch.zeros(valid.shape, device=inputs.device)
        counts = valid.sum(1)
        for count in counts[counts > 0].unique().tolist():
            rows = (counts == count).nonzero().squeeze(1)
            places = valid[rows].nonzero()[:, 1].unflatten(0, (len(rows), count))
            masks, solution = (part.to(inputs.device) for part in self._design(count))
            # What is no feature is never removed, whatever its mask says.
            each = found.new_zeros(len(rows), len(masks), valid.shape[1])
            each.scatter_(2, places.unsqueeze(1).expand(-1, len(masks), -1), masks.expand(len(rows), -1, -1))
            with torch.autocast(inputs.device.type, enabled=False):
                scores = masked_probabilities(self.black_box, self.masker, inputs[rows], each, classes[rows])
                found[rows.unsqueeze(1), places] = (scores - scores[:, :1]) @ solution
        return found
