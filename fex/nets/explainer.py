"""The explainer network: encoder, class head for the mask policy, value head."""

import math
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from fex.masking.valid import mean_over
from fex.nets.class_maps import ClassMapNet, Encoded, of_classes
from fex.nets.encoder import BaseEncoder

__all__ = ["ExplainerNet"]

# Numbers of one chunk of the class loop: 2 ** 22 float32 are 16 MB, whatever C is.
CHUNK = 2**22
ClassSoftmax = Literal["instance", "token"]


def _mean_log_rate(tokens: Tensor, shared: Tensor, level: Tensor, weight: Tensor, valid: Tensor | None) -> Tensor:
    """Mean over features of log sigmoid: (B, N, D'), (B, N), (B, c), (c, D'), (B, N) -> (B, c)."""
    rates = F.logsigmoid(tokens @ weight.T + shared.unsqueeze(-1) + level.unsqueeze(1))
    if valid is None:
        return rates.mean(1)
    means = mean_over(rates.transpose(1, 2), valid.unsqueeze(1))
    # Of a text without tokens only the levels speak.
    return torch.where(valid.any(1, keepdim=True), means, F.logsigmoid(level))


class ExplainerNet(ClassMapNet):
    """g(x) and v(x) of the paper: logits of the mask policy for every class, values for every class.

    logit(n, y) = s(token_n) + w_y . h(token_n) + a_y(x): a part that all classes share, a part of each class, and a
    level of each class that all features share (where the KL term finds the class without bending the maps). Of a
    multi-label box the level is the class's own logit, and no part of the map: mean log rates, which are negative, say
    no probability above one half, and a level of 3 would keep 95 % of the features of every class that is there. All
    are float32 whatever the precision of the encoder, and the start is exactly the keep rate everywhere, or a class
    activation map around it where the encoder keeps its classifier (see `ClassMapNet`).

    Args:
        encoder: tokens and a pooled vector from the input.
        hidden: width of the heads.
        keep_rate: share of features kept by the untrained policy; see the method notes on starting.
        value_degree: degree of the value in the expected kept share; 0 is the paper's v(x), 3 follows random budgets.
        depth: see `ClassMapNet`.
        class_softmax: how the explainer's own classes come from its maps (eq. 24). "instance", the paper's: one softmax
            over the mean log rates. "token": one at each token, p(y | n) = softmax_y logit(n, y), then that of their
            mean logarithm, see `class_mean_logits`. A multi-label box has neither.

    Raises:
        ValueError: settings out of range.
    """

    span = 1.0
    gate_start = 0.2

    def __init__(
        self,
        encoder: BaseEncoder,
        hidden: int = 128,
        keep_rate: float = 0.5,
        value_degree: int = 0,
        depth: int = 2,
        class_softmax: ClassSoftmax = "instance",
    ) -> None:
        if class_softmax not in get_args(ClassSoftmax):
            raise ValueError(f"class_softmax must be one of {get_args(ClassSoftmax)}, got {class_softmax!r}.")
        if not 0 < keep_rate < 1:
            raise ValueError(f"keep_rate must lie strictly between 0 and 1, got {keep_rate}.")
        if value_degree < 0:
            raise ValueError(f"value_degree must be at least 0, got {value_degree}.")
        super().__init__(encoder, hidden, depth)
        self.keep_rate, self.value_degree, self.class_softmax = keep_rate, value_degree, class_softmax

    def _add_heads(self) -> None:
        if self.multi_label and self.class_softmax == "token":
            raise ValueError(
                "class_softmax is token, a softmax over exclusive classes, but those of the black box are not "
                "exclusive (multi_label): leave class_softmax out."
            )
        self.value_out = nn.Linear(self.hidden, self.num_classes * (self.value_degree + 1))
        nn.init.constant_(self.shared.bias, math.log(self.keep_rate / (1 - self.keep_rate)))
        nn.init.zeros_(self.value_out.weight)
        nn.init.zeros_(self.value_out.bias)

    @property
    def init_args(self) -> dict[str, Any]:
        """See `ClassMapNet`."""
        given = {**super().init_args, "keep_rate": self.keep_rate, "value_degree": self.value_degree}
        return given if self.class_softmax == "instance" else {**given, "class_softmax": self.class_softmax}

    def target_logits(self, encoded: Encoded, target: Tensor) -> Tensor:
        """Logits of the classes `target` alone, of one each or of K, as `target_scores`."""
        scores = self.target_scores(encoded, target)
        if self.multi_label:
            return scores
        return scores + of_classes(encoded.level, target).unsqueeze(-1)

    def attribution(self, encoded: Encoded, target: Tensor) -> Tensor:
        """Keep probabilities lambda = g_y(x) of the classes `target`, in [0, 1]; 0 where there is no feature."""
        rates = self.target_logits(encoded, target).sigmoid()
        if encoded.valid is None:
            return rates
        return rates * (encoded.valid if target.ndim == 1 else encoded.valid.unsqueeze(1))

    def class_logits(self, encoded: Encoded) -> Tensor:
        """What eq. 24 aligns with f(x), (B, C), before a softmax; of a multi-label box the levels, before a sigmoid."""
        if self.multi_label:
            return encoded.level
        return self.class_log_rates(encoded) if self.class_softmax == "instance" else self.class_mean_logits(encoded)

    def class_mean_logits(self, encoded: Encoded) -> Tensor:
        """mean_n logit(n, y) for every class, (B, C): what a softmax over classes at each token comes to.

        With p(y | n) = softmax_y logit(n, y), the explainer's own classes are

            q(y) = softmax_y( mean_n log p(y | n) ) = softmax_y( mean_n logit(n, y) ),

        for log p(y | n) = logit(n, y) - logsumexp_c logit(n, c), and the mean of what is subtracted is the same for
        all classes. So no tensor with axes of N and C is needed.
        """
        with torch.autocast(encoded.tokens.device.type, enabled=False):
            valid = None if encoded.valid is None else encoded.valid.unsqueeze(1)
            token = mean_over(encoded.tokens.transpose(1, 2), valid)  # (B, D')
            return token @ self.class_weight.T + mean_over(encoded.shared, encoded.valid).unsqueeze(1) + encoded.level

    def class_log_rates(self, encoded: Encoded) -> Tensor:
        """mean_n log g_c of eq. 24 for every class, (B, C), nats; classes go in chunks, recomputed backward."""
        tokens, shared, levels, _, valid = encoded
        weights = self.class_weight
        with torch.autocast(tokens.device.type, enabled=False):
            # An exported graph has no loop whose length is that of the batch.
            exporting = torch.compiler.is_compiling()
            step = self.num_classes if exporting else max(1, CHUNK // max(1, tokens.shape[0] * tokens.shape[1]))
            if step >= self.num_classes:
                return _mean_log_rate(tokens, shared, levels, weights, valid)
            parts = [
                checkpoint(_mean_log_rate, tokens, shared, level, weight, valid, use_reentrant=False)
                for level, weight in zip(levels.split(step, 1), weights.split(step), strict=True)
            ]
            return torch.cat(parts, 1)

    def value(self, trunk: Tensor, target: Tensor, kept: Tensor) -> Tensor:
        """v_y(x) at the expected kept shares `kept` (B, K) -> (B, K), in units of the reward."""
        with torch.autocast(trunk.device.type, enabled=False):
            powers = self.value_out(trunk).unflatten(1, (self.num_classes, -1))
            chosen = powers[torch.arange(len(target), device=target.device), target]
            basis = torch.stack([kept**degree for degree in range(self.value_degree + 1)], -1)
            return (basis * chosen.unsqueeze(1)).sum(-1)

    def forward(self, inputs: Tensor, target: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """One pass: inputs (B, ...) -> logits (B, N) of `target` (B,), and `class_logits` (B, C).

        Without a target, the class is the one with the largest class logit (the explainer's own prediction).
        """
        encoded = self.encode(inputs)
        classes = self.class_logits(encoded)
        target = classes.argmax(1) if target is None else target
        return self.target_logits(encoded, target), classes
