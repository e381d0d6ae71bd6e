"""The versions of DAX's loss, injected into the fit."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor

from fex.losses.dax import bounded_counterfactual, histogram_kl

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
    def __call__(
        self, scores: Tensor, predicted: Tensor, masks: Tensor | None, complement: Tensor | None, bound: Tensor
    ) -> Tensor:
        """Penalty of each instance, (I,).

        Args:
            scores: the black box's, (b, I).
            predicted: the student's, (b, I).
            masks: (b, I, h, w), in [0, 1]; None where no mask is used.
            complement: student's predictions for the complement, (b, I); None where they are not used.
            bound: variance of the scores, (I,).
        """


def _not_negative(**weights: float) -> None:
    for name, weight in weights.items():
        if weight < 0:
            raise ValueError(f"Got {name}={weight}, expected a weight >= 0.")


@dataclass(frozen=True)
class Sparsity(Regulariser):
    """V1: mean of the mask, and the KL of score histograms (eq. 10, 11).

    Args:
        l1: lambda_1; of the mean over pixels, so that it does not depend on the resolution.
        kl: lambda_2.
    """

    l1: float = 0.001
    kl: float = 0.02

    def __post_init__(self) -> None:
        _not_negative(l1=self.l1, kl=self.kl)

    def __call__(
        self, scores: Tensor, predicted: Tensor, masks: Tensor | None, complement: Tensor | None, bound: Tensor
    ) -> Tensor:
        assert masks is not None
        return self.l1 * masks.mean((0, 2, 3)) + self.kl * histogram_kl(scores, predicted)


@dataclass(frozen=True)
class Counterfactual(Regulariser):
    """V2, and V3 with SAM's segments: what the mask removes must not tell the score (eq. 12).

    The mask that is 1 everywhere removes nothing, tells nothing by its complement, and so minimises the paper's V2. The
    price of area decides among the masks that hide the score equally well; 0 is the paper's loss.

    Args:
        weight: lambda_3.
        area: price of a mask that is 1 everywhere, as a share of the variance of the scores.
    """

    weight: float = 0.5
    area: float = 0.05
    uses_complement = True

    def __post_init__(self) -> None:
        _not_negative(weight=self.weight, area=self.area)

    def __call__(
        self, scores: Tensor, predicted: Tensor, masks: Tensor | None, complement: Tensor | None, bound: Tensor
    ) -> Tensor:
        assert complement is not None
        assert masks is not None
        hidden = bounded_counterfactual(scores, complement, bound)
        return self.area * bound * masks.mean((0, 2, 3)) - self.weight * hidden


@dataclass(frozen=True)
class NoRegulariser(Regulariser):
    """The student alone, without a mask: the hybrids of Table V."""

    uses_mask = False

    def __call__(
        self, scores: Tensor, predicted: Tensor, masks: Tensor | None, complement: Tensor | None, bound: Tensor
    ) -> Tensor:
        return bound.new_zeros(bound.shape)
