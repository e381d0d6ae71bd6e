"""KernelSHAP (Lundberg and Lee 2017): Shapley values by least squares over masks from the Shapley kernel."""

import torch
from torch import Tensor

from fex.baselines.queried import LinearInScores
from fex.black_box.base import BlackBox
from fex.modality import Features, Removal
from fex.policy.noise import Antithetic
from fex.shapley.kernel import centred, coalitions, every_coalition

__all__ = ["KernelSHAP"]


class KernelSHAP(LinearInScores):
    """Shapley values of f_y(m x), estimated from `num_masks` queries an instance.

    Two of the queries are the input and the blank input: attributions add up to the difference of their scores. The
    others are masks of the Shapley kernel, each with its complement (Covert and Lee 2021). Where the budget holds all
    2^N subsets, these are taken instead and the values are exact. Where it holds fewer pairs than features, the
    solution of the smallest norm is taken. A pair is one equation, so near num_masks = 2 N there are as many equations
    as unknowns and the estimate is at its noisiest: take more masks, or a `ridge`.

    Args:
        black_box: any black box.
        features: patches or tokens, at least 2 of them.
        removal: fill of what a mask removes; by default the mean colour, or the mask token.
        num_masks: K, queries an instance.
        ridge: penalty of the squared values less their mean, in units of the design's mean square an unknown; 0 is
            plain least squares. It biases all values towards their mean; they still add up to the difference. Not used
            where all subsets are taken.
        seed: seed of the masks, which all instances share.

    Raises:
        ValueError: fewer than 4 masks, a single feature, or a negative ridge.
    """

    def __init__(
        self,
        black_box: BlackBox,
        features: Features,
        removal: Removal | None = None,
        *,
        num_masks: int = 1000,
        ridge: float = 0.0,
        seed: int = 0,
    ) -> None:
        count = features.num_features
        if num_masks < 4 or count < 2:
            raise ValueError(f"KernelSHAP needs num_masks >= 4 and at least 2 features, got {num_masks} and {count}.")
        if ridge < 0:
            raise ValueError(f"Got ridge={ridge}, expected at least 0.")
        self.num_masks, self.ridge, self.seed = num_masks, ridge, seed
        super().__init__(black_box, features, removal)

    def _design(self, count: int) -> tuple[Tensor, Tensor]:
        ends = torch.stack([torch.zeros(count), torch.ones(count)])
        if count == 1:  # a text of one token: all of the difference is its own
            return ends, torch.tensor([[-1.0], [1.0]])
        ridge = self.ridge
        if count < self.num_masks.bit_length() and 2**count <= self.num_masks:
            masks, weights = every_coalition(count)
            ridge = 0.0
        else:
            noise = Antithetic()((1, self.num_masks - 2, count), torch.Generator().manual_seed(self.seed))
            masks = coalitions(*noise)[0]
            weights = masks.new_ones(len(masks))
        # phi = total / N + psi, sum psi = 0: least squares for psi has no constraint left (`fex.shapley.centred`).
        coefficients, share = centred(masks.double())
        root = weights.double().sqrt().unsqueeze(1)
        inverse = _inverse(coefficients * root, ridge).T * root  # (K, N)
        blank = -1 / count - (1 - share) @ inverse
        clean = 1 / count - share @ inverse
        return torch.cat([ends, masks]), torch.cat([torch.stack([blank, clean]), inverse]).float()


def _inverse(design: Tensor, ridge: float) -> Tensor:
    """Of a design (K, N): what makes unknowns (N,) of answers (K,)."""
    if ridge == 0:
        return torch.linalg.pinv(design)
    penalty = ridge * design.square().sum(0).mean()
    # Rows of the design sum to 0, and so do the columns of the inverse: the values' mean is not touched.
    square = design.T @ design + penalty * torch.eye(design.shape[1], dtype=design.dtype, device=design.device)
    return torch.linalg.solve(square, design.T)
