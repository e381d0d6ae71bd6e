"""Deletion and insertion: as RISE has them, and of the region that a map marks."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar

from torch import Tensor

from fex.black_box.base import BlackBox
from fex.images.features import PatchGrid
from fex.images.removal import Blur, Mean
from fex.metrics.curve import Curve, shares_curves
from fex.metrics.functional.deletion import deletion_curve, insertion_curve, region_deletion_curve
from fex.metrics.functional.perturbation import trapezoid_auc
from fex.metrics.protocols import Attributed, Protocol, Summary
from fex.modality import Removal

__all__ = ["DeletionInsertion", "RegionDeletion"]


def _steps(count: int) -> tuple[float, ...]:
    return tuple(i / count for i in range(count + 1))


@dataclass(frozen=True)
class DeletionInsertion(Protocol):
    """Probability of the explained class as pixels go (fill) or come (from a blur), all the way (Petsiuk et al. 2018).

    Attributes:
        steps: equal steps from nothing to everything; 224 of 224 pixels each on a picture of 224 x 224.
        deleted: fill of the deletion.
        inserted_into: fill that the insertion starts from.
    """

    modality: ClassVar[str | None] = "image"
    steps: int = 224
    deleted: Removal = field(default_factory=Mean)
    inserted_into: Removal = field(default_factory=partial(Blur, sigma=5.0, kernel=11))

    @property
    def fractions(self) -> tuple[float, ...]:
        """Shares of the pixels."""
        return _steps(self.steps)

    @property
    def components(self) -> Mapping[str, int]:
        """The two curves."""
        return {"deletion_curve": self.steps + 1, "insertion_curve": self.steps + 1}

    @property
    def auc(self) -> Callable[[Tensor], Tensor]:
        """Area under curves (..., S) -> (...): (sum - half of both ends) / (S - 1)."""
        return partial(trapezoid_auc, fractions=self.fractions)

    @property
    def summaries(self) -> Mapping[str, Summary]:
        """Deletion AUC: lower is better. Insertion AUC: higher."""
        return {
            "deletion_auc": Summary("deletion_curve", self.auc),
            "insertion_auc": Summary("insertion_curve", self.auc),
        }

    def curves(self, means: Mapping[str, Tensor]) -> dict[str, Curve]:
        """Both, over the share of the pixels."""
        return shares_curves(means, self.fractions, ("share removed or inserted", "probability"))

    def evaluate(self, black_box: BlackBox, data: Attributed, *, seed: int = 0) -> dict[str, Tensor]:
        """Both curves (B, S); spends 2 queries an instance and step."""
        self.check_features(data.features)
        curve = {"fractions": self.fractions, "seed": seed}
        common = (data.inputs, data.maps, data.explained, data.clean)
        return {
            "deletion_curve": deletion_curve(black_box, self.deleted, *common, **curve),  # type: ignore[arg-type]
            "insertion_curve": insertion_curve(black_box, self.inserted_into, *common, **curve),  # type: ignore[arg-type]
        }

    def describe(self, features: PatchGrid) -> dict[str, str]:  # noqa: ARG002
        """Fills and unit."""
        return {"removal": f"{self.deleted.name} / {self.inserted_into.name}", "unit": "pixels"}


@dataclass(frozen=True)
class RegionDeletion(Protocol):
    """Accuracy as the salient region goes, in tenths of it; area by trapezoids, lower is better (DAX, Table III).

    Attributes:
        removal: fill.
        levels: shares of the salient region (mean + one standard deviation) that are removed.
    """

    modality: ClassVar[str | None] = "image"
    removal: Removal = field(default_factory=Mean)
    levels: tuple[float, ...] = _steps(10)

    @property
    def components(self) -> Mapping[str, int]:
        """The curve."""
        return {"deletion_curve": len(self.levels)}

    @property
    def summaries(self) -> Mapping[str, Summary]:
        """One number."""
        return {"deletion_auc": Summary("deletion_curve", partial(trapezoid_auc, fractions=self.levels))}

    def curves(self, means: Mapping[str, Tensor]) -> dict[str, Curve]:
        """Accuracy over the share of the region."""
        return shares_curves(means, self.levels, ("share removed", "accuracy"))

    def evaluate(self, black_box: BlackBox, data: Attributed, *, seed: int = 0) -> dict[str, Tensor]:
        """The curve (B, S); spends a query an instance and level."""
        self.check_features(data.features)
        return {
            "deletion_curve": region_deletion_curve(
                black_box, self.removal, data.inputs, data.maps, data.explained, levels=self.levels, seed=seed
            )
        }

    def describe(self, features: PatchGrid) -> dict[str, str]:  # noqa: ARG002
        """Fill and unit."""
        return {"removal": self.removal.name, "unit": "salient region"}
