"""Explainers of vision transformers by their attention: AttLRP and attention rollout (`fex.attention`)."""

from abc import abstractmethod

import torch
from torch import Tensor

from fex.attention import attention_rollout, read_transformer, relevance_rollout
from fex.baselines.layer import token_grid
from fex.baselines.maps import MapExplainer
from fex.black_box.base import BlackBox
from fex.features import PatchGrid

__all__ = ["AttLRP", "AttentionRollout"]


class _TokenExplainer(MapExplainer):
    """Maps on the grid of the transformer's tokens; the prefix tokens are left out.

    Args:
        black_box: a timm or transformers box of a plain vision transformer.
        features: the grid of `attribute_features`.
        internal_batch_size: largest number of images in one pass; all attention maps of them are held at once.

    Raises:
        TypeError: a box that can only be queried.
        ValueError: a network that is no transformer of a known kind.
    """

    def __init__(self, black_box: BlackBox, features: PatchGrid, *, internal_batch_size: int = 32) -> None:
        super().__init__(black_box, features, internal_batch_size=internal_batch_size)
        self.transformer = read_transformer(self.module)

    @abstractmethod
    def _tokens(self, images: Tensor, target: Tensor) -> Tensor:
        """Relevance of every token, (b, L)."""

    def _native(self, inputs: Tensor, target: Tensor) -> Tensor:
        images = inputs.detach().clone().to(self.black_box.device, torch.float32)
        values = self._tokens(images, target.clone().to(images.device))
        own = self.transformer.head.prefix
        prefix, height, width = token_grid(values.shape[1], (images.shape[-2], images.shape[-1]), (own,))
        return values[:, prefix:].unflatten(1, (height, width))


class AttLRP(_TokenExplainer):
    """Relevance of each attention map times its gradient, rolled out over the layers (Chefer et al. 2021).

    Non-negative, relative to the other tokens of the same image.
    """

    def _tokens(self, images: Tensor, target: Tensor) -> Tensor:
        return relevance_rollout(self.transformer, lambda: self.black_box.differentiable(images), target)


class AttentionRollout(_TokenExplainer):
    """Attention, averaged over heads and rolled out over the layers (Abnar and Zuidema 2020); blind to the class."""

    def _tokens(self, images: Tensor, target: Tensor) -> Tensor:  # noqa: ARG002
        return attention_rollout(self.transformer, lambda: self.black_box.differentiable(images))
