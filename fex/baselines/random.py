"""Explainers that look at nothing: every table needs them."""

from typing import ClassVar

import torch
from torch import Tensor

from fex.baselines.base import FeatureExplainer
from fex.class_names import Target
from fex.images.features import PatchGrid
from fex.modality import Features

__all__ = ["CentreGaussian", "Random"]


class Random(FeatureExplainer):
    """Uniform scores, a function of the seed and the input alone: the same image gets the same map in any batch.

    The target does not change them: two classes of one input get the same map.

    Args:
        features: N features.
        seed: another seed, another draw.
    """

    def __init__(self, features: Features, seed: int = 0) -> None:
        super().__init__(features)
        self.seed = seed

    def attribute_features(self, inputs: Tensor, target: Target | None = None) -> Tensor:  # noqa: ARG002
        """Scores (B, N) in [0, 1)."""
        valid = self.features.valid(inputs)
        scores = torch.zeros(len(inputs), self.features.count(inputs))
        for number, seed in enumerate(self.features.seeds(inputs, self.seed)):
            generator = torch.Generator().manual_seed(seed)
            own = slice(None) if valid is None else valid[number].cpu()
            scores[number, own] = torch.rand(len(scores[number, own]), generator=generator)
        return scores.to(inputs.device)


class CentreGaussian(FeatureExplainer):
    """A Gaussian bump in the middle: what photographs' subjects do by themselves.

    Args:
        features: N features.
        sigma: standard deviation, as a share of half the image's side.
    """

    modalities: ClassVar[tuple[str, ...]] = ("image",)
    features: PatchGrid

    def __init__(self, features: PatchGrid, sigma: float = 0.5) -> None:
        super().__init__(features)
        if sigma <= 0:
            raise ValueError(f"CentreGaussian needs sigma > 0, got {sigma}.")
        self.sigma = sigma

    def attribute_features(self, inputs: Tensor, target: Target | None = None) -> Tensor:  # noqa: ARG002
        """Scores (B, N) in (0, 1], the same for every image."""
        centres = [(2 * torch.arange(n) + 1) / n - 1 for n in (self.features.height, self.features.width)]
        distance = centres[0].square()[:, None] + centres[1].square()
        scores = (-distance / (2 * self.sigma**2)).exp().flatten()
        return scores.to(inputs.device).repeat(len(inputs), 1)
