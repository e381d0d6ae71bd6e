"""One class of each kind, as `CONTRIBUTING.md` says; each is named by class path in a YAML and nowhere in `fex`."""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from fex.baselines.base import FeatureExplainer
from fex.black_box import BlackBox
from fex.images import Preprocess
from fex.metrics import Attributed, Protocol, Summary
from fex.metrics.protocol import mean_value
from fex.modality import Features, Removal
from fex.policy import Reward

__all__ = ["ConstantShare", "LeftHalf", "OwnReward", "OwnScores", "White"]


class LeftHalf(BlackBox):
    """Two classes: how bright the left half is, and the rest."""

    def __init__(self, size: int = 64) -> None:
        super().__init__(class_names=["dark", "bright"], preprocess=Preprocess(size, size))

    def _score(self, inputs: Tensor) -> Tensor:
        bright = inputs[..., : inputs.shape[-1] // 2].mean((1, 2, 3))
        return torch.stack([1 - bright, bright], 1)


class White(Removal):
    """White pixels."""

    name = "white"

    def __call__(self, inputs: Tensor, mean: Tensor) -> Tensor:
        return inputs.new_ones(1, inputs.shape[1], 1, 1)


class OwnReward(Reward):
    """What is kept of the score, less a price a feature."""

    def __init__(self, price: float = 0.1) -> None:
        self.price = price

    def __call__(self, scores: Tensor, masks: Tensor, blank: Tensor, count: Tensor | None = None) -> Tensor:
        return scores - self.price * masks.mean(-1)


class OwnScores(FeatureExplainer):
    """The brightness of each feature, whatever the class."""

    def __init__(self, features: Features, power: float = 1.0) -> None:
        super().__init__(features)
        self.power = power

    def attribute_features(self, inputs: Tensor, target: Tensor | None = None) -> Tensor:
        return self.features.pool(inputs.mean(1)) ** self.power


class ConstantShare(Protocol):
    """The share of features whose scores are above the mean of their instance."""

    components: ClassVar[Mapping[str, int]] = {"above": 1}
    summaries: ClassVar[Mapping[str, Summary]] = {"share_above_mean": Summary("above", mean_value)}

    def evaluate(self, black_box: BlackBox, data: Attributed, *, seed: int = 0) -> dict[str, Tensor]:
        return {"above": (data.scores > data.scores.mean(1, keepdim=True)).float().mean(1)}
