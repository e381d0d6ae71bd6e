"""The explainer network: encoder, class head for the mask policy, value head."""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from fex.features import Features
from fex.nets.encoder import BaseEncoder
from fex.valid import mean_over

__all__ = ["Encoded", "ExplainerNet"]

# Numbers of one chunk of the class loop: 2 ** 22 float32 are 16 MB, whatever C is.
CHUNK = 2**22


class Encoded(NamedTuple):
    """What one pass of the explainer gives; logits and values of any class follow from it at no further pass.

    Attributes:
        tokens: features of the tokens (B, N, D').
        shared: the part of the logits that all classes share (B, N).
        level: the part of the logits that all features share (B, C).
        trunk: pooled features (B, D').
        valid: which tokens are features (B, N), bool; None where all are.
    """

    tokens: Tensor
    shared: Tensor
    level: Tensor
    trunk: Tensor
    valid: Tensor | None = None


def _mean_log_rate(tokens: Tensor, shared: Tensor, level: Tensor, weight: Tensor, valid: Tensor | None) -> Tensor:
    """Mean over features of log sigmoid: (B, N, D'), (B, N), (B, c), (c, D'), (B, N) -> (B, c)."""
    rates = F.logsigmoid(tokens @ weight.T + shared.unsqueeze(-1) + level.unsqueeze(1))
    if valid is None:
        return rates.mean(1)
    if not bool(valid.any(1).all()):  # a text without tokens: only the levels speak
        return torch.where(valid.any(1, keepdim=True), _mean_valid(rates, valid), F.logsigmoid(level))
    return _mean_valid(rates, valid)


def _mean_valid(rates: Tensor, valid: Tensor) -> Tensor:
    return mean_over(rates.transpose(1, 2), valid.unsqueeze(1))


class ExplainerNet(nn.Module):
    """g(x) and v(x) of the paper: logits of the mask policy for every class, values for every class.

    logit(n, y) = s(token_n) + w_y . h(token_n) + a_y(x): a part that all classes share, a part of each class, and a
    level of each class that all features share (where the KL term finds the class without bending the maps). All are
    float32 whatever the precision of the encoder, and the start is exactly the keep rate everywhere.

    Args:
        encoder: tokens and a pooled vector from the input.
        hidden: width of the heads.
        keep_rate: share of features kept by the untrained policy; see the method notes on starting.
        value_degree: degree of the value in the expected kept share; 0 is the paper's v(x), 3 follows random budgets.
    """

    def __init__(self, encoder: BaseEncoder, hidden: int = 128, keep_rate: float = 0.5, value_degree: int = 0) -> None:
        super().__init__()
        if not 0 < keep_rate < 1:
            raise ValueError(f"keep_rate must lie strictly between 0 and 1, got {keep_rate}.")
        if value_degree < 0:
            raise ValueError(f"value_degree must be at least 0, got {value_degree}.")
        self.encoder, self.hidden, self.keep_rate, self.value_degree = encoder, hidden, keep_rate, value_degree
        self.token = nn.Sequential(nn.LayerNorm(encoder.dim), nn.Linear(encoder.dim, hidden), nn.GELU())
        self.shared = nn.Linear(hidden, 1)
        self.trunk = nn.Sequential(nn.LayerNorm(encoder.dim), nn.Linear(encoder.dim, hidden), nn.GELU())
        self.num_classes = 0

    def build(self, num_classes: int, features: Features) -> "ExplainerNet":
        """Adds the layers whose size depends on the black box (C) and the features (N)."""
        if num_classes < 1:
            raise ValueError(f"An explainer needs at least one class, got {num_classes}.")
        self.num_classes, self.features = num_classes, features
        self.weight = nn.Parameter(torch.zeros(num_classes, self.hidden))
        self.value_out = nn.Linear(self.hidden, num_classes * (self.value_degree + 1))
        self.level = nn.Linear(self.hidden, num_classes)
        nn.init.zeros_(self.level.weight)
        nn.init.zeros_(self.level.bias)
        nn.init.zeros_(self.shared.weight)
        nn.init.constant_(self.shared.bias, math.log(self.keep_rate / (1 - self.keep_rate)))
        nn.init.zeros_(self.value_out.weight)
        nn.init.zeros_(self.value_out.bias)
        return self

    @property
    def init_args(self) -> dict[str, Any]:
        """Plain data from which `fex.nets.rebuild` makes the same network."""
        return {
            "encoder": {"class_path": f"fex.nets.{type(self.encoder).__name__}", "init_args": self.encoder.init_args},
            "hidden": self.hidden,
            "keep_rate": self.keep_rate,
            "value_degree": self.value_degree,
        }

    def encode(self, inputs: Tensor) -> Encoded:
        """One pass: inputs (B, 3, H, W) in [0, 1], or token ids (B, L) -> `Encoded`, float32."""
        found = self.encoder(inputs, self.features.grid)
        with torch.autocast(inputs.device.type, enabled=False):
            tokens, trunk = self.token(found.tokens), self.trunk(found.pooled)
            level = self.level(trunk)
            if found.classes is not None:
                level = level + self._known(found.classes).log_softmax(1)
            return Encoded(tokens, self.shared(tokens).squeeze(-1), level, trunk, self.features.valid(inputs))

    def _known(self, classes: Tensor) -> Tensor:
        if classes.shape[1] != self.num_classes:
            raise ValueError(
                f"The backbone classifies into {classes.shape[1]} classes, the black box into {self.num_classes}: set "
                "class_head: false, or take a backbone with the black box's classes."
            )
        return classes

    def target_logits(self, encoded: Encoded, target: Tensor) -> Tensor:
        """Logits of the classes `target` (B,) alone, (B, N): no tensor with axes of C and N is made."""
        with torch.autocast(target.device.type, enabled=False):
            level = encoded.level.gather(1, target.unsqueeze(1))
            return torch.einsum("bnd,bd->bn", encoded.tokens, self.weight[target]) + encoded.shared + level

    def class_log_rates(self, encoded: Encoded) -> Tensor:
        """mean_n log g_c of eq. 24 for every class, (B, C), nats; classes go in chunks, recomputed backward."""
        tokens, shared, levels, _, valid = encoded
        step = max(1, CHUNK // max(1, tokens.shape[0] * tokens.shape[1]))
        with torch.autocast(tokens.device.type, enabled=False):
            if step >= self.num_classes:
                return _mean_log_rate(tokens, shared, levels, self.weight, valid)
            parts = [
                checkpoint(_mean_log_rate, tokens, shared, level, weight, valid, use_reentrant=False)
                for level, weight in zip(levels.split(step, 1), self.weight.split(step), strict=True)
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
        """One pass: inputs (B, ...) -> logits (B, N) of `target` (B,), and the classes' log rates (B, C).

        Without a target, the class is the one with the largest mean log rate (the explainer's own prediction).
        """
        encoded = self.encode(inputs)
        rates = self.class_log_rates(encoded)
        target = rates.argmax(1) if target is None else target
        return self.target_logits(encoded, target), rates
