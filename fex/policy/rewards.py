"""Rewards of a mask, c(m, x) of eq. 9: what the black box still gives the target class, and at what price."""

from abc import ABC, abstractmethod

from torch import Tensor

__all__ = ["BlankCorrectedRatio", "LogRatio", "PaperRatio", "Retained", "Reward"]


class Reward(ABC):
    """Maps queries to rewards.

    Attributes:
        uses_blank: whether f_y of the blank input is needed (one more query, cached where the fill is constant).
    """

    uses_blank: bool = False

    @abstractmethod
    def __call__(self, scores: Tensor, masks: Tensor, blank: Tensor, count: Tensor | None = None) -> Tensor:
        """Rewards of masks.

        Args:
            scores: f_y of the masked inputs, (B, K), probabilities.
            masks: (B, K, N), 1 = kept; 0 where an entry is no feature.
            blank: f_y of the blank input, (B,); zeros unless `uses_blank`.
            count: features of each instance, (B,); by default all N.

        Returns:
            Rewards (B, K), float32.
        """


def _price(masks: Tensor, count: Tensor | None) -> Tensor:
    """N / (K_m + 1), (B, K)."""
    total = masks.shape[-1] if count is None else count.unsqueeze(1)
    return total / (masks.sum(-1) + 1)


class PaperRatio(Reward):
    """N f_y(m x) / (K_m + 1): eq. 9 up to a constant, of order 1 and defined for the empty mask.

    Unbounded below any price where the box gives class y to a blank input: the policy then collapses to the empty
    mask. `BlankCorrectedRatio` closes that hole.
    """

    def __call__(self, scores: Tensor, masks: Tensor, blank: Tensor, count: Tensor | None = None) -> Tensor:
        return scores * _price(masks, count)


class LogRatio(PaperRatio):
    """log(N f_y(m x) / (K_m + 1) + 1e-6): the logarithm of `PaperRatio`, which the authors' program takes; in nats.

    It bounds what a single mask can earn, and keeps the hole: among all masks the same ones are the best.
    """

    def __call__(self, scores: Tensor, masks: Tensor, blank: Tensor, count: Tensor | None = None) -> Tensor:
        return (super().__call__(scores, masks, blank, count) + 1e-6).log()


class BlankCorrectedRatio(Reward):
    """N (f_y(m x) - f_y(blank)) / (K_m + 1): only what the kept features add is rewarded."""

    uses_blank = True

    def __call__(self, scores: Tensor, masks: Tensor, blank: Tensor, count: Tensor | None = None) -> Tensor:
        return (scores - blank.unsqueeze(1)) * _price(masks, count)


class Retained(Reward):
    """f_y(m x) itself: for budgets that fix how much is kept, so that no price is needed."""

    def __call__(self, scores: Tensor, masks: Tensor, blank: Tensor, count: Tensor | None = None) -> Tensor:
        return scores
