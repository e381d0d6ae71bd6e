"""How far to trust a map: weights of the assumptions that a regression averages over."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

__all__ = ["Trust"]


@dataclass(frozen=True)
class Trust:
    """What is assumed of the map before any query: a grid of assumptions and the weight of each.

    Attributes:
        alphas: standard deviations of the scores that the map explains, in units of the scores; one of them 0.
        rhos: those that a departure from the map explains; one of them 0.
        lengths: over which neighbours are alike, in features.
        sigmas: those that no linear map explains.
        weights: prior probability of each combination (lengths, rhos, sigmas, alphas), float64; by default equal.
    """

    alphas: tuple[float, ...] = (0.0, 0.02, 0.05, 0.1, 0.2, 0.4)
    rhos: tuple[float, ...] = (0.0, 0.02, 0.05, 0.1, 0.2, 0.4)
    lengths: tuple[float, ...] = (0.0, 1.0, 2.0)
    sigmas: tuple[float, ...] = (0.01, 0.02, 0.04, 0.08, 0.16)
    weights: Tensor | None = None

    def __post_init__(self) -> None:
        for name in ("alphas", "rhos", "lengths", "sigmas"):
            values = getattr(self, name)
            if not 1 <= len(values) <= 32 or not all(math.isfinite(value) and value >= 0 for value in values):
                raise ValueError(f"Trust got {name} {values!r:.80}, expected 1 to 32 numbers of at least 0.")
        if 0.0 not in self.alphas or 0.0 not in self.rhos or min(self.sigmas) <= 0:
            raise ValueError("Trust needs 0 among alphas and rhos, and sigmas above 0.")
        weights = self.weights
        if weights is not None and (
            tuple(weights.shape) != self.shape or not bool(((weights >= 0) & weights.isfinite()).all())
        ):
            raise ValueError(f"Trust got weights of shape {tuple(weights.shape)}, expected {self.shape}, at least 0.")

    @classmethod
    def of(cls, data: Any) -> "Trust | None":
        """From plain data of a checkpoint; None where it has none.

        Raises:
            ValueError: no such data; a map that is trusted by chance would be refined wrongly.
        """
        if data is None:
            return None
        try:
            axes = {name: tuple(map(float, data[name])) for name in ("alphas", "rhos", "lengths", "sigmas")}
            return cls(**axes, weights=torch.tensor(data["shares"], dtype=torch.float64))
        except (TypeError, KeyError, ValueError) as error:
            raise ValueError(
                f"The trust that a checkpoint holds is damaged ({type(error).__name__}: {error}): take the checkpoint "
                "from where it came once more."
            ) from error

    def to_dict(self) -> dict[str, Any]:
        """Plain data: the grid, and the weights as nested lists, four digits each."""
        weights = self.log_weights().flatten().softmax(0)
        rounded = torch.tensor([float(f"{weight:.4g}") for weight in weights.tolist()], dtype=torch.float64)
        axes = {name: list(getattr(self, name)) for name in ("alphas", "rhos", "lengths", "sigmas")}
        return {**axes, "shares": rounded.view(self.shape).tolist()}

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Sizes of the grid: lengths, rhos, sigmas, alphas."""
        return len(self.lengths), len(self.rhos), len(self.sigmas), len(self.alphas)

    def log_weights(self) -> Tensor:
        """Logarithm of the prior probabilities (lengths, rhos, sigmas, alphas), float64."""
        if self.weights is None:
            return torch.zeros(self.shape, dtype=torch.float64)
        return self.weights.double().clamp_min(1e-12).log()

    def learnt(self, evidence: Tensor, steps: int = 100, smoothing: float = 1.0) -> "Trust":
        """The weights that make the scores of training instances likeliest (EM), given each one's evidence.

        Args:
            evidence: log-evidence of each instance and combination, (n, *shape), as `Posterior.evidence` has it.
            steps: of EM.
            smoothing: instances' worth of equal weights that are added, so that nothing is ruled out.
        """
        likelihood = (evidence - evidence.flatten(1).amax(1).view(-1, 1, 1, 1, 1)).double().exp().flatten(1)
        count = likelihood.shape[1]
        weights = likelihood.new_full((count,), 1 / count)
        for _ in range(steps):
            joint = likelihood * weights
            found = (joint / joint.sum(1, keepdim=True)).sum(0) + smoothing / count
            weights = found / found.sum()
        return Trust(self.alphas, self.rhos, self.lengths, self.sigmas, weights.view(self.shape))
