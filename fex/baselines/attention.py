"""Explainers of transformers by their attention: AttLRP and attention rollout (`fex.baselines.attention_maps`)."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor

from fex.baselines.attention_maps.layers import Transformer
from fex.baselines.attention_maps.read import read_transformer
from fex.baselines.attention_maps.relevance import attention_rollout, relevance_rollout
from fex.baselines.base import in_float64
from fex.baselines.layer import token_grid
from fex.baselines.maps import MapExplainer
from fex.black_box.base import BlackBox
from fex.modality import Features
from fex.texts.features import Tokens

__all__ = ["AttLRP", "AttentionRollout"]


class _TokenExplainer(MapExplainer):
    """Maps on the grid of the transformer's tokens, without the prefix tokens; scores of the tokens of a text.

    Args:
        black_box: a timm or transformers box of a plain vision transformer, or a `TextBlackBox` of a BERT kind.
        features: the grid of `attribute_features`, or tokens.
        internal_batch_size: largest number of instances in one pass, whose attention maps are all held at once
            (default: the box's chunk, at most 32).

    Raises:
        TypeError: a box that can only be queried.
        ValueError: a network that is no transformer of a known kind.
    """

    largest_batch: ClassVar[int] = 32
    black_box: Any

    def __init__(self, black_box: BlackBox, features: Features, *, internal_batch_size: int | None = None) -> None:
        super().__init__(black_box, features, internal_batch_size=internal_batch_size)
        read_transformer(self.module)  # a network of another kind is told here

    @property
    def transformer(self) -> Transformer:
        """The layers as they are now: some are views of the weights, which moving the network replaces."""
        return read_transformer(self.module)

    @abstractmethod
    def _tokens(self, run: Callable[[], Tensor], target: Tensor, bias: Tensor | None) -> Tensor:
        """Relevance of every token, (b, L): the network's logits, classes, what keeps padding out of the attention."""

    def _native(self, inputs: Tensor, target: Tensor) -> Tensor:
        with in_float64(self.module) as precision:
            return self._of(inputs, target, precision)

    def _of(self, inputs: Tensor, target: Tensor, precision: torch.dtype) -> Tensor:
        device = self.black_box.device
        target = target.clone().to(device)
        if isinstance(self.features, Tokens):
            ids = inputs.clone().to(device)
            reading, values = self.black_box.reading, torch.zeros(ids.shape, device=device, dtype=precision)
            for rows in reading.groups(ids):
                part = reading.cut(ids[rows])
                values[rows, : part.shape[1]] = self._text_tokens(part, target[rows], precision)
            return values
        images = inputs.detach().clone().to(device, precision)
        values = self._tokens(lambda: self.black_box.differentiable(images), target, None)
        own = self.transformer.head.prefix
        prefix, height, width = token_grid(values.shape[1], (images.shape[-2], images.shape[-1]), (own,))
        return values[:, prefix:].unflatten(1, (height, width))

    def _text_tokens(self, ids: Tensor, target: Tensor, precision: torch.dtype) -> Tensor:
        """Relevance of every token of ids (b, L) that may share a pass, (b, L)."""
        padding = (ids == self.features.pad)[:, None, None]
        bias = torch.zeros(padding.shape, device=ids.device, dtype=precision)
        bias = bias.masked_fill(padding, torch.finfo(precision).min)
        return self._tokens(lambda: self.black_box.differentiable(ids), target, bias)


class AttLRP(_TokenExplainer):
    """Relevance of each attention map times its gradient, rolled out over the layers (Chefer et al. 2021).

    Non-negative, relative to the other tokens of the same input. Computed in float64, which its divisions by sums that
    nearly cancel need.
    """

    def _tokens(self, run: Callable[[], Tensor], target: Tensor, bias: Tensor | None) -> Tensor:
        return relevance_rollout(self.transformer, run, target, bias)


class AttentionRollout(_TokenExplainer):
    """Attention, averaged over heads and rolled out over the layers (Abnar and Zuidema 2020); blind to the class."""

    def _tokens(self, run: Callable[[], Tensor], target: Tensor, bias: Tensor | None) -> Tensor:  # noqa: ARG002
        return attention_rollout(self.transformer, run, bias)
