"""How much is kept while training: by the policy, also with some decisions by a coin, or at a random budget."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor
from torch.nn import functional as F

from fex.masking.valid import mean_over
from fex.policy import bernoulli

__all__ = ["EpsilonGreedy", "Exploration", "OnPolicy", "RandomBudget", "ReferenceBudget", "TwoSidedBudget"]


class Exploration(ABC):
    """From the explainer's logits to the logits that masks are drawn from.

    Attributes:
        follows_policy: whether the explainer's logits move the masks that are drawn; if not, masks that were drawn long
            ago are as good as fresh ones.
    """

    follows_policy: bool = True

    @abstractmethod
    def centre(self, logits: Tensor, valid: Tensor | None = None) -> Tensor:
        """The part of the logits (B, N) that the policy gradient moves, (B, N).

        Entries that are no features (`valid` (B, N) is False) become 0: the reference policy, with neither gradient,
        relative entropy nor control weight.
        """

    @abstractmethod
    def reference(self, noise: Tensor) -> Tensor:
        """Log-odds of keeping before the explainer has spoken: budget noise (B, K) in [0, 1) -> (B, K, 1)."""

    def side(self, noise: Tensor) -> Tensor:
        """1 where a mask keeps what matters and its reward is maximised, -1 where it removes it: (B, K) -> (B, K)."""
        return noise.new_ones(noise.shape)

    def __call__(self, centred: Tensor, noise: Tensor) -> Tensor:
        """Sampling logits (B, K, N) from centred logits (B, N), or (B, K, N) of a policy each, and budgets (B, K)."""
        centred = centred if centred.ndim == 3 else centred.unsqueeze(1)
        return self.side(noise).unsqueeze(-1) * centred + self.reference(noise)

    def price(self, centred: Tensor, sampling: Tensor, noise: Tensor) -> Tensor:  # noqa: ARG002
        """KL of the policy to its reference at each budget, nats: (B, N), (B, K, N) and (B, K) -> (B, K)."""
        return bernoulli.relative_entropy(sampling, self.reference(noise))

    def kept(self, masks: Tensor, noise: Tensor, valid: Tensor | None = None) -> Tensor:  # noqa: ARG002
        """The share by which the value net tells masks (B, K, N) apart, (B, K): here what the reference keeps."""
        return self.reference(noise).sigmoid().squeeze(-1)


class OnPolicy(Exploration):
    """The paper's: masks from Bern(g_y(x)) (eq. 7)."""

    def centre(self, logits: Tensor, valid: Tensor | None = None) -> Tensor:
        return logits if valid is None else logits * valid

    def reference(self, noise: Tensor) -> Tensor:
        return noise.new_zeros(*noise.shape, 1)


class EpsilonGreedy(OnPolicy):
    """With probability epsilon a decision is a fair coin's, else the policy's own.

    Each decision is then kept with probability epsilon / 2 + (1 - epsilon) g: a Bernoulli again, which is what ratio,
    entropy and control variate are of. Its logits lie between +- log(2 / epsilon - 1), so that no feature is given up.
    The map that is trained and shown is g.

    Args:
        epsilon: in [0, 1); 0 is `OnPolicy`.
    """

    def __init__(self, epsilon: float = 0.05) -> None:
        if not 0 <= epsilon < 1:
            raise ValueError(f"EpsilonGreedy needs an epsilon in [0, 1), got {epsilon}.")
        self.epsilon = epsilon

    def __call__(self, centred: Tensor, noise: Tensor) -> Tensor:
        logits = super().__call__(centred, noise)
        coin, own = logits.new_tensor([self.epsilon / 2, 1 - self.epsilon]).log()
        kept, removed = (torch.logaddexp(coin, own + F.logsigmoid(sign * logits)) for sign in (1, -1))
        return kept - removed


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

    def centre(self, logits: Tensor, valid: Tensor | None = None) -> Tensor:
        centred = logits - mean_over(logits, valid).unsqueeze(-1)
        return centred if valid is None else centred * valid

    def reference(self, noise: Tensor) -> Tensor:
        return (self.low + (self.high - self.low) * noise).unsqueeze(-1)


class TwoSidedBudget(RandomBudget):
    """Half of the masks keep what matters, half remove it; both at random budgets.

    J = E_{q+}[c] - E_{q-}[c] with q+ = Bern(sigmoid(z + b)) and q- = Bern(sigmoid(b - z)): the policy is paid for what
    its features give alone and for what the input loses without them. A one-sided policy sees few inputs that lack
    their evidence, and ranks poorly by what must be removed first. With `Antithetic` noise and a symmetric range the
    two masks of a pair are exact complements.

    Args:
        low: smallest offset in nats of log-odds.
        high: largest offset.
    """

    def reference(self, noise: Tensor) -> Tensor:
        return super().reference((2 * noise) % 1)

    def side(self, noise: Tensor) -> Tensor:
        return torch.where(noise < 0.5, 1.0, -1.0)


class ReferenceBudget(RandomBudget):
    """Masks of random budgets alone: the explainer learns from them, but does not draw them.

    Every mask is Bern(sigmoid(b)), b uniform on [low, high], whatever the explainer says. The policy gradient is taken
    at z = 0, where the ratio is 1 by definition and log q has the gradient m - r, r = sigmoid(b). The relative entropy
    is replaced by its second order there, sum_n r (1 - r) z_n^2 / 2, so that with `CompatibleControl` (w = tau z) what
    is left of the gradient for logit z_n is exactly

        (c - v - sum_i tau z_i (m_i - r)) (m_n - r):

    the least-squares regression of the reward on the masks. It needs no correction for when a mask was drawn, so that
    any mask may be used again (`Replay`), and none of a policy's own blind spots: a policy that keeps a feature at
    nearly every budget no longer learns what it is worth. The value net tells masks apart by the share they really
    keep, a regressor like the others: with it (`value_degree` of 1 or more) the centring costs nothing, also where
    neighbours go together (`Correlated`). Both sides of `TwoSidedBudget` are the same here.

    Args:
        low: smallest offset in nats of log-odds.
        high: largest offset.
    """

    follows_policy = False

    def __call__(self, centred: Tensor, noise: Tensor) -> Tensor:
        """The reference, with the gradient of centred logits added to it: (B, K, N)."""
        return super().__call__(centred - centred.detach(), noise)

    def price(self, centred: Tensor, sampling: Tensor, noise: Tensor) -> Tensor:  # noqa: ARG002
        """To second order at the reference, nats."""
        rate = self.reference(noise).sigmoid()  # (B, K, 1)
        return 0.5 * (rate * (1 - rate)).squeeze(-1) * centred.square().sum(-1, keepdim=True)

    def kept(self, masks: Tensor, noise: Tensor, valid: Tensor | None = None) -> Tensor:  # noqa: ARG002
        """The share that each mask really keeps, (B, K)."""
        return mean_over(masks, None if valid is None else valid.unsqueeze(1))
