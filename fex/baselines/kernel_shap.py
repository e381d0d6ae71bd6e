"""KernelSHAP (Lundberg and Lee 2017): Shapley values by least squares over masks from the Shapley kernel."""

from typing import Any

import torch
from torch import Tensor

from fex.baselines.queried import LinearInScores, target_classes
from fex.black_box.base import BlackBox
from fex.class_names import Target
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
        prior: an explainer of the same features, such as a trained one. The ridge then draws the values towards a
            multiple of its map instead of 0, the one that fits the answers best: a control variate, whose own Shapley
            values are known. With plain least squares it would change nothing.
        seed: seed of the masks, which all instances share.

    Raises:
        ValueError: fewer than 4 masks, a single feature, a negative ridge, or a prior without a ridge.
        TypeError: a prior that scores no features.
    """

    def __init__(
        self,
        black_box: BlackBox,
        features: Features,
        removal: Removal | None = None,
        *,
        num_masks: int = 1000,
        ridge: float = 0.0,
        prior: Any = None,
        seed: int = 0,
    ) -> None:
        count = features.num_features
        if num_masks < 4 or count < 2:
            raise ValueError(f"KernelSHAP needs num_masks >= 4 and at least 2 features, got {num_masks} and {count}.")
        if ridge < 0:
            raise ValueError(f"Got ridge={ridge}, expected at least 0.")
        if prior is not None and ridge == 0:
            raise ValueError("A prior needs a ridge, which draws the values towards it: set ridge, 1.0 for instance.")
        if prior is not None and not hasattr(prior, "attribute_features"):
            raise TypeError(f"A prior is an explainer that scores features, got {type(prior).__name__}.")
        self.num_masks, self.ridge, self.prior, self.seed = num_masks, ridge, prior, seed
        super().__init__(black_box, features, removal)

    def attribute_features(self, inputs: Tensor, target: Target | None = None) -> Tensor:
        """See `LinearInScores`; a prior costs its own queries too, where it has any."""
        if self.prior is None:
            return super().attribute_features(inputs, target)
        classes = target_classes(self.black_box, inputs, target)
        found, maps = super().attribute_features(inputs, classes), self.prior.attribute_features(inputs, classes)
        valid = self.features.valid(inputs)
        if valid is None:
            return self._drawn(found, maps.to(found))
        counts = valid.sum(1)
        for count in counts[counts > 0].unique().tolist():
            rows = (counts == count).nonzero()
            places = rows, valid[rows[:, 0]].nonzero()[:, 1].unflatten(0, (len(rows), count))
            found[places] = self._drawn(found[places], maps[places].to(found))
        return found

    def _drawn(self, found: Tensor, prior: Tensor) -> Tensor:
        """Values (B, n) that a ridge drew to 0, drawn to a multiple of the prior (B, n) instead.

        Both are solved by G = C^T C + p, so the solution for answers less those of a prior is found + a p G^-1
        prior, and the multiple a that fits the answers best, prior^T C^T y / |C prior|^2, follows from found.
        """
        masks = self._sampled(found.shape[1])
        if masks is None:
            return found
        coefficients = centred(masks.double())[0].to(found.device)
        square = coefficients.T @ coefficients
        penalty = self.ridge * coefficients.square().sum(0).mean()
        ridged = square + penalty * torch.eye(len(square), dtype=square.dtype, device=square.device)
        psi, prior = (each.double() - each.double().mean(1, keepdim=True) for each in (found, prior))
        explained = (prior @ square * prior).sum(1)
        scale = (prior @ ridged * psi).sum(1) / explained
        scale = scale.where(explained > 0, 0.0)  # a map that is the same everywhere
        return (found.double() + (scale * penalty).unsqueeze(1) * torch.linalg.solve(ridged, prior.T).T).to(found.dtype)

    def _sampled(self, count: int) -> Tensor | None:
        """Masks (K, n) of the Shapley kernel; None where the budget holds all subsets."""
        if count == 1 or (count < self.num_masks.bit_length() and 2**count <= self.num_masks):
            return None
        noise = Antithetic()((1, self.num_masks - 2, count), torch.Generator().manual_seed(self.seed))
        return coalitions(*noise)[0]

    def _design(self, count: int) -> tuple[Tensor, Tensor]:
        ends = torch.stack([torch.zeros(count), torch.ones(count)])
        if count == 1:  # a text of one token: all of the difference is its own
            return ends, torch.tensor([[-1.0], [1.0]])
        sampled = self._sampled(count)
        if sampled is None:
            (masks, weights), ridge = every_coalition(count), 0.0
        else:
            masks, weights, ridge = sampled, sampled.new_ones(len(sampled)), self.ridge
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
