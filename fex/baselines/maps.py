"""What explainers share that see inside the network, at a grid of its own, or at the tokens of a text."""

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from fex.baselines.base import FeatureExplainer, backward_batch, differentiating, in_parts
from fex.baselines.queried import target_classes
from fex.black_box.base import BlackBox
from fex.class_names import Target
from fex.modality import Features

__all__ = ["MapExplainer", "upsample"]


class MapExplainer(FeatureExplainer):
    """An explainer whose maps lie on a grid of the network; of texts, on their tokens.

    Args:
        black_box: a box that has a `module`.
        features: the grid of `attribute_features`, or tokens.
        internal_batch_size: largest number of instances in one pass (default: the box's chunk, at most 64).

    Raises:
        TypeError: a box that can only be queried.
        ValueError: internal_batch_size below 1.
    """

    largest_batch: ClassVar[int] = 64

    def __init__(self, black_box: BlackBox, features: Features, *, internal_batch_size: int | None = None) -> None:
        super().__init__(features)
        self.black_box, self.module = black_box, black_box.module
        self.internal_batch_size = backward_batch(black_box, internal_batch_size, self.largest_batch)

    @abstractmethod
    def _native(self, inputs: Tensor, target: Tensor) -> Tensor:
        """Maps (b, h, w) on the network's own grid, or scores of tokens (b, L), of at least one instance."""

    def _maps(self, inputs: Tensor, target: Target | None) -> Tensor:
        classes = target_classes(self.black_box, inputs, target)
        if len(inputs) == 0:
            return torch.zeros(0, *(self.features.grid or inputs.shape[1:]), device=inputs.device)
        with differentiating(self.module):
            return in_parts(self._native, inputs, classes, self.internal_batch_size)

    def attribute_features(self, inputs: Tensor, target: Target | None = None) -> Tensor:
        """Scores (B, N): means of the map of `attribute`, so that both rank alike.

        Those of texts are the network's own, 0 where there is no feature.
        """
        return self._scores(self._maps(inputs, target), inputs)

    def _scores(self, maps: Tensor, inputs: Tensor) -> Tensor:
        valid = self.features.valid(inputs)
        if valid is not None:
            return maps * valid
        return self.features.pool(upsample(maps, inputs))

    def attribute(self, inputs: Tensor, target: Target | None = None) -> Tensor:
        """The map, bilinear on the pixels: (B, H, W), float32; of texts, scores of the tokens (B, L)."""
        return self.features_and_maps(inputs, target)[1]

    def features_and_maps(self, inputs: Tensor, target: Target | None = None) -> tuple[Tensor, Tensor]:
        """`attribute_features` and `attribute` by one run: the map is the network's own, whatever grid is explained."""
        maps = self._maps(inputs, target)
        scores = self._scores(maps, inputs)
        return scores, scores if inputs.ndim == 2 else upsample(maps, inputs)


def upsample(maps: Tensor, inputs: Tensor) -> Tensor:
    """Maps (B, h, w), bilinear on the pixels of `inputs` (B, 3, H, W) -> (B, H, W)."""
    size = (inputs.shape[-2], inputs.shape[-1])
    if len(maps) == 0:
        return maps.new_zeros(0, *size)
    return F.interpolate(maps.unsqueeze(1), size=size, mode="bilinear", align_corners=False).squeeze(1)
