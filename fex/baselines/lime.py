"""LIME (Ribeiro et al. 2016) on the explained features."""

import torch
from torch import Tensor

from fex.baselines.queried import LinearInScores
from fex.black_box.base import BlackBox
from fex.masking.sampling import hard_masks
from fex.modality import Features, Removal

__all__ = ["LIME", "ridge_solution"]


def ridge_solution(masks: Tensor, kernel_width: float = 0.25, ridge: float = 1.0) -> Tensor:
    """The matrix that turns scores of masks into LIME's coefficients.

    Args:
        masks: (K, N), 1 = kept.
        kernel_width: see `LIME`.
        ridge: see `LIME`.

    Returns:
        (N, K), float64: coefficients are ``ridge_solution(masks) @ scores``.
    """
    masks = masks.double()
    count = masks.shape[1]
    distance = 1 - (masks.sum(1) / count).sqrt()
    weights = (-distance.square() / kernel_width**2).exp().sqrt().unsqueeze(1)
    # An intercept that is not penalised: both sides less their weighted means.
    design = masks - (weights * masks).sum(0) / weights.sum()
    gram = design.T @ (weights * design) + ridge * torch.eye(count, dtype=torch.float64, device=masks.device)
    return torch.linalg.pinv(gram, hermitian=True) @ (weights * design).T


class LIME(LinearInScores):
    """Coefficients of a ridge regression of the masked scores on the masks, weighted by closeness to the input.

    As in the authors' program for images: the input itself is the first of the samples, the others keep each feature
    with probability 1/2; d is the cosine distance of a mask to the full one, 1 - sqrt(|m| / N), and its weight
    sqrt(exp(-d^2 / kernel_width^2)); the intercept is not penalised, no features are selected beforehand. Segments
    are the explained features.

    Args:
        black_box: any black box.
        features: patches or tokens.
        removal: fill of what a mask removes; by default the mean colour, or the mask token.
        num_masks: K, queries an instance.
        kernel_width: sigma of the closeness, in units of the cosine distance.
        ridge: penalty of the squared coefficients.
        seed: seed of the masks, which all instances share.

    Raises:
        ValueError: fewer than 2 masks, a width that is not positive, a negative penalty.
    """

    def __init__(
        self,
        black_box: BlackBox,
        features: Features,
        removal: Removal | None = None,
        *,
        num_masks: int = 1000,
        kernel_width: float = 0.25,
        ridge: float = 1.0,
        seed: int = 0,
    ) -> None:
        if num_masks < 2 or kernel_width <= 0 or ridge < 0:
            raise ValueError(
                f"LIME needs num_masks >= 2, kernel_width > 0 and ridge >= 0, got {num_masks}, {kernel_width}, {ridge}."
            )
        self.num_masks, self.kernel_width, self.ridge, self.seed = num_masks, kernel_width, ridge, seed
        super().__init__(black_box, features, removal)

    def _design(self, count: int) -> tuple[Tensor, Tensor]:
        sampled = hard_masks(self.num_masks - 1, count, torch.Generator().manual_seed(self.seed))
        masks = torch.cat([sampled.new_ones(1, count), sampled])
        return masks.float(), ridge_solution(masks, self.kernel_width, self.ridge).T.float()
