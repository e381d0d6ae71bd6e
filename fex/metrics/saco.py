"""Protocol `saco`: see `fex.metrics.functional.saco`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor

from fex.black_box.base import BlackBox
from fex.images.removal import Mean
from fex.masking.masker import masked_probabilities, masker_for
from fex.metrics.functional.perturbation import rank_features
from fex.metrics.functional.saco import group_masks, group_means, salience_coefficient
from fex.metrics.protocol import Attributed, Protocol, Summary, mean_value
from fex.modality import Features, Removal

__all__ = ["SaCo"]


@dataclass(frozen=True)
class SaCo(Protocol):
    """Faithfulness of the sizes of attributions, in [-1, 1]; 1 is best.

    Random sizes get 0 where all effects differ. Ties count as agreement, as in the paper, so where many effects are
    equal (a box that answers 0 or 1) they get more: read it beside Random.

    Attributes:
        groups: G, of equal numbers of features; the authors' 10, or the number of features where that is smaller.
        removal: fill.
    """

    modality: ClassVar[str | None] = "image"
    groups: int = 10
    removal: Removal = field(default_factory=Mean)

    components: ClassVar[Mapping[str, int]] = {"coefficient": 1}  # type: ignore[misc]
    summaries: ClassVar[Mapping[str, Summary]] = {"saco": Summary("coefficient", mean_value)}  # type: ignore[misc]

    def evaluate(self, black_box: BlackBox, data: Attributed, *, seed: int = 0) -> dict[str, Tensor]:
        """Coefficient (B,) of the explained class; spends G queries an instance. Ties are broken by `seed`."""
        self.check_features(data.features)
        count = min(self.groups, data.scores.shape[1])
        ranks = rank_features(data.scores, data.features.seeds(data.inputs, seed))
        target = data.explained
        masker = masker_for(black_box, data.features, self.removal)
        masked = masked_probabilities(black_box, masker, data.inputs, group_masks(ranks, count), target)
        effects = data.clean.gather(1, target[:, None]) - masked
        return {"coefficient": salience_coefficient(group_means(data.scores, ranks, count), effects)}

    def describe(self, features: Features) -> dict[str, str]:
        """Fill and unit."""
        return {"removal": self.removal.name, "unit": f"{min(self.groups, features.num_features)} groups of patches"}
