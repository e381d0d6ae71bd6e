"""The versions of DAX's loss, injected into the fit."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from fex.dax.losses import histogram_kl

__all__ = ["Counterfactual", "NoRegulariser", "Regulariser", "Sparsity"]


class Regulariser(ABC):
    """What is added to the distillation error, so that the mask is not simply 1 everywhere.

    Attributes:
        uses_mask: whether a mask stands between the input and the student at all.
        uses_complement: whether the student is also asked about what the mask removes.
    """

    uses_mask: bool = True
    uses_complement: bool = False

    @abstractmethod
    def price(self, masks: Tensor, complement: Tensor | None, blank: Tensor | None, bound: Tensor) -> Tensor:
        """What each instance's masks are charged, (I,).

        Args:
            masks: (b, I, h, w), in [0, 1].
            complement: student's predictions for what the masks remove, (b, I); None where they are not used.
            blank: its predictions for nothing, (I,); None with `complement`.
            bound: variance of the scores, (I,).
        """

    def fidelity(self, scores: Tensor, predicted: Tensor) -> Tensor:
        """What is added to the distillation error, (I,), of the scores (b, I) and the predictions under the masks."""
        return torch.zeros_like(scores[0])


def _not_negative(**weights: float) -> None:
    for name, weight in weights.items():
        if weight < 0:
            raise ValueError(f"Got {name}={weight}, expected a weight >= 0.")


@dataclass(frozen=True)
class Sparsity(Regulariser):
    """V1: the area of the mask, and the KL of score histograms (eq. 10, 11).

    Args:
        l1: lambda_1; price of a mask that is 1 everywhere, as a share of the variance of the scores: the same at every
            resolution and for every black box.
        kl: lambda_2.
    """

    l1: float = 1.0
    kl: float = 0.02

    def __post_init__(self) -> None:
        _not_negative(l1=self.l1, kl=self.kl)

    def price(self, masks: Tensor, complement: Tensor | None, blank: Tensor | None, bound: Tensor) -> Tensor:
        return self.l1 * bound * masks.mean((0, 2, 3))

    def fidelity(self, scores: Tensor, predicted: Tensor) -> Tensor:
        return self.kl * histogram_kl(scores, predicted)


@dataclass(frozen=True)
class Counterfactual(Regulariser):
    """V2, and V3 with SAM's segments: what the mask removes must not tell the score (eq. 12).

    The paper's text wants the complement to disagree with the score, which a student that is paid for being wrong does
    without looking. Here the complement must tell the student no more than nothing does: the squared difference from
    its answer to a blank input. The mask that is 1 everywhere leaves nothing, so an area has a price.

    Args:
        weight: lambda_3.
        area: price of a mask that is 1 everywhere, as a share of the variance of the scores.
    """

    weight: float = 1.0
    area: float = 1.4
    uses_complement = True

    def __post_init__(self) -> None:
        _not_negative(weight=self.weight, area=self.area)

    def price(self, masks: Tensor, complement: Tensor | None, blank: Tensor | None, bound: Tensor) -> Tensor:
        assert complement is not None
        assert blank is not None
        told = (complement - blank.detach()).square().mean(0)
        return self.weight * told + self.area * bound * masks.mean((0, 2, 3))


@dataclass(frozen=True)
class NoRegulariser(Regulariser):
    """The student alone, without a mask: the hybrids of Table V."""

    uses_mask = False

    def price(self, masks: Tensor, complement: Tensor | None, blank: Tensor | None, bound: Tensor) -> Tensor:
        return torch.zeros_like(bound)
