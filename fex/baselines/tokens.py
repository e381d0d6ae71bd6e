"""GradCAM of text classifiers, on their hidden states."""

from typing import ClassVar

import torch
from torch import Tensor

from fex.baselines.maps import MapExplainer
from fex.black_box.base import BlackBox
from fex.black_box.text import TextBlackBox
from fex.texts.features import Tokens

__all__ = ["TokenGradCAM"]


class TokenGradCAM(MapExplainer):
    """GradCAM (Selvaraju et al. 2017) over tokens: hidden states weighted by the mean gradient of the target's logit.

    score_n = max(0, sum_d A_nd mean_m dy/dA_md), A the hidden states that enter one layer. By default that is the last
    one: after it, only the class token reaches the prediction. Gradient passes are no queries; only an unnamed target
    costs one query an instance.

    Args:
        black_box: a box with a network.
        features: the tokens.
        layer: index into the hidden states; 0 are the embeddings, -2 what enters the last layer.
        internal_batch_size: largest number of texts in one backward pass (default: the box's chunk, at most 32).

    Raises:
        TypeError: a box that can only be queried.
        ValueError: where it explains, a layer that is not there, or the last, of which the network reads one token.
    """

    modalities: ClassVar[tuple[str, ...]] = ("text",)
    largest_batch: ClassVar[int] = 32
    black_box: TextBlackBox

    def __init__(
        self, black_box: BlackBox, features: Tokens, *, layer: int = -2, internal_batch_size: int | None = None
    ) -> None:
        super().__init__(black_box, features, internal_batch_size=internal_batch_size)
        self.layer = layer

    def _native(self, inputs: Tensor, target: Tensor) -> Tensor:
        ids, reading = inputs.clone().to(self.black_box.device), self.black_box.reading
        scores = torch.zeros(ids.shape, device=ids.device)
        for rows in reading.groups(ids):
            part = reading.cut(ids[rows])
            scores[rows, : part.shape[1]] = self._part(part, target.to(ids.device)[rows])
        return scores

    def _part(self, ids: Tensor, target: Tensor) -> Tensor:
        output = self.black_box.outputs(ids, output_hidden_states=True)
        states = output.get("hidden_states") or output.get("encoder_hidden_states") or ()
        count = len(states)
        if not -count <= self.layer < count - 1 or self.layer == -1:
            raise ValueError(
                f"Got layer {self.layer}, expected 0 ... {count - 2}, or -2 and less: of the last hidden states, "
                f"{count - 1}, only those of the first token are read."
            )
        hidden = states[self.layer]
        if hidden.shape[:2] != ids.shape:
            raise ValueError(
                f"Layer {self.layer} of {type(self.module).__name__} has {hidden.shape[1]} hidden states for "
                f"{ids.shape[1]} tokens: TokenGradCAM needs one a token. Take an earlier layer, or another method."
            )
        chosen = self.black_box.classes(output.logits).gather(1, target.unsqueeze(1)).sum()
        (gradient,) = torch.autograd.grad(chosen, hidden, allow_unused=True)
        if gradient is None:
            raise ValueError(
                f"{type(self.module).__name__} gives copies of its hidden states, which its logits do not come from: "
                "TokenGradCAM cannot weigh them. Use another method."
            )
        valid = self.features.valid(ids).unsqueeze(-1)
        weights = (gradient * valid).sum(1, keepdim=True) / valid.sum(1, keepdim=True).clamp_min(1)
        return ((hidden * weights).sum(-1).clamp_min(0) * valid.squeeze(-1)).detach()
