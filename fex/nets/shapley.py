"""The network of FastSHAP: a Shapley value for every feature and class."""

from typing import Any

import torch
from torch import Tensor, nn

from fex.nets.class_maps import ClassMapNet, Encoded, of_classes
from fex.shapley.kernel import additive_efficiency

__all__ = ["ShapleyNet"]


class ShapleyNet(ClassMapNet):
    """phi(x, y) of FastSHAP (Jethani et al. 2022) for every class from one pass, on any encoder.

    Shapley values add up to f_y(x) - f_y(blank). In training the black box says what that is; afterwards the network's
    own estimate of it, `totals`, does, so that an explanation needs no query. The order of the features does not
    depend on it. `level` is the network's estimate of log f(x), by which it knows the class.

    Args:
        encoder: tokens and a pooled vector from the input.
        hidden: width of the heads.
    """

    span = None
    gate_start = 0.01

    def _add_heads(self) -> None:
        if self.features.modality != "image":
            raise ValueError(f"ShapleyNet explains images, got {self.features.modality} features: use ExplainerNet.")
        self.total_out = nn.Linear(self.hidden, self.num_classes)
        nn.init.zeros_(self.total_out.weight)
        nn.init.zeros_(self.total_out.bias)

    @property
    def init_args(self) -> dict[str, Any]:
        """See `ClassMapNet`."""
        return {**super().init_args, "class_path": "fex.nets.ShapleyNet"}

    def totals(self, encoded: Encoded) -> Tensor:
        """Estimate of f(x) - f(blank), (B, C), in units of probability."""
        with torch.autocast(encoded.trunk.device.type, enabled=False):
            return self.total_out(encoded.trunk)

    def coalition_sums(self, encoded: Encoded, weights: Tensor) -> Tensor:
        """sum_n weights_n score(n, y) for every class: weights (B, K, N) -> (B, K, C), no tensor of N x C is made."""
        with torch.autocast(weights.device.type, enabled=False):
            return (weights @ encoded.tokens) @ self.class_weight.T + weights @ encoded.shared.unsqueeze(-1)

    def attribution(self, encoded: Encoded, target: Tensor) -> Tensor:
        """Shapley values of the classes `target`, signed, in units of probability: as `ClassMapNet`."""
        total = of_classes(self.totals(encoded), target)
        return additive_efficiency(self.target_scores(encoded, target), total)

    def class_logits(self, encoded: Encoded) -> Tensor:
        """Estimate of log f(x), up to a constant, or of the logit of each label of a multi-label box: (B, C)."""
        return encoded.level
