"""How much is kept while training: the policy itself, or the policy at a random budget."""

from abc import ABC, abstractmethod

from torch import Tensor

__all__ = ["Exploration", "OnPolicy", "RandomBudget"]


class Exploration(ABC):
    """From the explainer's logits to the logits that masks are drawn from."""

    @abstractmethod
    def centre(self, logits: Tensor) -> Tensor:
        """The part of the logits (B, N) that the policy gradient moves, (B, N)."""

    @abstractmethod
    def reference(self, noise: Tensor) -> Tensor:
        """Log-odds of keeping before the explainer has spoken: budget noise (B, K) in [0, 1) -> (B, K, 1)."""

    def __call__(self, centred: Tensor, noise: Tensor) -> Tensor:
        """Sampling logits (B, K, N) from centred logits (B, N) and budget noise (B, K)."""
        return centred.unsqueeze(1) + self.reference(noise)


class OnPolicy(Exploration):
    """The paper's: masks from Bern(g_y(x))."""

    def centre(self, logits: Tensor) -> Tensor:
        return logits

    def reference(self, noise: Tensor) -> Tensor:
        return noise.new_zeros(*noise.shape, 1)


class RandomBudget(Exploration):
    """One offset a mask, uniform on [low, high], on logits less their mean over the features.

    Every sparsity is trained, so the ranking holds at every sparsity; the overall rate of a class is left to the KL
    term alone. Without the centring all logits would grow together.

    Args:
        low: smallest offset in nats of log-odds (-3 keeps 5 %).
        high: largest offset.
    """

    def __init__(self, low: float = -3.0, high: float = 3.0) -> None:
        if low > high:
            raise ValueError(f"RandomBudget needs low <= high, got {low} and {high}.")
        self.low, self.high = low, high

    def centre(self, logits: Tensor) -> Tensor:
        return logits - logits.mean(-1, keepdim=True)

    def reference(self, noise: Tensor) -> Tensor:
        return (self.low + (self.high - self.low) * noise).unsqueeze(-1)
