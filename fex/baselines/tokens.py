"""Baselines that look into a text classifier: GradCAM on hidden states, attention rollout. White boxes only."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from fex.baselines.base import FeatureExplainer, differentiating, in_parts
from fex.black_box.base import BlackBox, resolve_target
from fex.black_box.text import TextBlackBox
from fex.tokens import Tokens

__all__ = ["AttentionRollout", "TokenGradCAM"]


def _white(black_box: BlackBox) -> TextBlackBox:
    if not isinstance(black_box, TextBlackBox):
        raise TypeError(
            f"Black box {black_box.name!r} can only be queried: GradCAM and attention rollout of texts need a "
            "TextBlackBox; FEX, RISE, LeaveOneOut and Random do not."
        )
    return black_box


class TokenGradCAM(FeatureExplainer):
    """GradCAM (Selvaraju et al. 2017) over tokens: hidden states weighted by the mean gradient of the target's logit.

    score_n = max(0, sum_d A_nd mean_m dy/dA_md), A the hidden states that enter one layer. By default that is the last
    one: after it, only the class token reaches the prediction. Gradient passes are no queries; only an unnamed target
    costs one query an instance.

    Args:
        black_box: a box with a network.
        features: the tokens.
        layer: index into the hidden states; 0 are the embeddings, -2 what enters the last layer.
        internal_batch_size: largest number of texts in one backward pass.

    Raises:
        TypeError: a box that can only be queried.
    """

    def __init__(
        self, black_box: BlackBox, features: Tokens, *, layer: int = -2, internal_batch_size: int = 32
    ) -> None:
        super().__init__(features)
        self.black_box, self.layer, self.internal_batch_size = _white(black_box), layer, internal_batch_size

    def _scores(self, inputs: Tensor, target: Tensor) -> Tensor:
        ids = inputs.clone().to(self.black_box.device)
        # Gradients to the embeddings, so that those to every hidden state are kept.
        embedded = self.black_box.embed(ids).detach().clone().requires_grad_()
        output = self.black_box.outputs(ids, inputs_embeds=embedded, output_hidden_states=True)
        hidden = output.hidden_states[self.layer]
        chosen = output.logits.gather(1, target.to(ids.device).unsqueeze(1)).sum()
        (gradient,) = torch.autograd.grad(chosen, hidden)
        valid = self.features.valid(ids).unsqueeze(-1)
        weights = (gradient * valid).sum(1, keepdim=True) / valid.sum(1, keepdim=True).clamp_min(1)
        return ((hidden * weights).sum(-1).clamp_min(0) * valid.squeeze(-1)).detach()

    def attribute_features(self, inputs: Tensor, target: Tensor | int | None = None) -> Tensor:
        """Scores (B, L), 0 or larger."""
        classes = _classes(self.black_box, inputs, target)
        with differentiating(self.black_box.module):
            return in_parts(self._scores, inputs, classes, self.internal_batch_size)


class AttentionRollout(FeatureExplainer):
    """Attention rollout (Abnar & Zuidema 2020): the product over layers of (A + 1) / 2, A the mean over heads.

    The row of the first token is read, which is the class token of encoders. The target does not change it.

    Args:
        black_box: a box with a network.
        features: the tokens.
        internal_batch_size: largest number of texts in one pass.

    Raises:
        TypeError: a box that can only be queried.
    """

    def __init__(self, black_box: BlackBox, features: Tokens, *, internal_batch_size: int = 32) -> None:
        super().__init__(features)
        self.black_box, self.internal_batch_size = _white(black_box), internal_batch_size

    def _scores(self, inputs: Tensor, target: Tensor) -> Tensor:  # noqa: ARG002 in_parts gives it
        ids = inputs.to(self.black_box.device)
        attentions = self.black_box.outputs(ids, output_attentions=True).attentions
        rolled = torch.eye(ids.shape[1], device=ids.device).expand(len(ids), -1, -1)
        for attention in attentions:
            mixed = (attention.float().mean(1) + torch.eye(ids.shape[1], device=ids.device)) / 2
            rolled = mixed @ rolled
        return rolled[:, 0] * self.features.valid(ids)

    def attribute_features(self, inputs: Tensor, target: Tensor | int | None = None) -> Tensor:
        """Scores (B, L) in [0, 1]."""
        if target is not None:
            resolve_target(target, torch.zeros(len(inputs), self.black_box.num_classes))
        none = torch.zeros(len(inputs), dtype=torch.int64)
        with torch.no_grad(), _eager(self.black_box.module):
            return in_parts(self._scores, inputs, none, self.internal_batch_size)


@contextmanager
def _eager(net: Any) -> Iterator[None]:
    """Attention that can be looked at: the fused kernels do not give it."""
    before = net.config._attn_implementation
    net.set_attn_implementation("eager")
    try:
        yield
    finally:
        net.set_attn_implementation(before)


def _classes(black_box: BlackBox, inputs: Tensor, target: Tensor | int | None) -> Tensor:
    clean = black_box(inputs) if target is None else torch.zeros(len(inputs), black_box.num_classes)
    return resolve_target(target, clean)
