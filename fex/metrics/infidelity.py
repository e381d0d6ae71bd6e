"""Protocol `infidelity`: see `fex.metrics.functional.infidelity`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from fex.black_box.base import BlackBox
from fex.images.removal import Mean
from fex.masking.masker import masked_probabilities, masker_for
from fex.masking.sampling import hard_masks
from fex.metrics.functional.infidelity import scaled_infidelity
from fex.metrics.protocol import Attributed, Protocol, Summary, mean_value
from fex.modality import Features, Removal

__all__ = ["Infidelity"]


SALT = 0x1F1DE117  # tells these masks from those of methods with the same seed


@dataclass(frozen=True)
class Infidelity(Protocol):
    """Squared error of the attributions as predictions of what removal does; lower is better.

    Attributes:
        num_masks: K random masks an instance, its own.
        keep_rate: share of the features a mask keeps, on average.
        removal: fill.
    """

    modality: ClassVar[str | None] = "image"
    num_masks: int = 50
    keep_rate: float = 0.5
    removal: Removal = field(default_factory=Mean)

    components: ClassVar[Mapping[str, int]] = {"infidelity": 1}  # type: ignore[misc]
    summaries: ClassVar[Mapping[str, Summary]] = {"infidelity": Summary("infidelity", mean_value)}  # type: ignore[misc]

    def evaluate(self, black_box: BlackBox, data: Attributed, *, seed: int = 0) -> dict[str, Tensor]:
        """Infidelity (B,) for the explained class; spends K queries an instance. Masks depend on pixels and `seed`."""
        self.check_features(data.features)
        features = data.scores.shape[1]
        # Of its own kind: methods draw by the same pixels and seed, and a mask that one of them drew tells of no other.
        seeds = data.features.seeds(data.inputs, seed ^ SALT)
        generators = [torch.Generator().manual_seed(each) for each in seeds]
        drawn = [hard_masks(self.num_masks, features, generator, keep_rate=self.keep_rate) for generator in generators]
        masks = torch.stack(drawn).to(data.scores.device)
        target = data.explained
        masker = masker_for(black_box, data.features, self.removal)
        effects = data.clean.gather(1, target[:, None]) - masked_probabilities(
            black_box, masker, data.inputs, masks, target
        )
        attributed = (1 - masks).double() @ data.scores.double().unsqueeze(2)
        return {"infidelity": scaled_infidelity(attributed.squeeze(2), effects)}

    def describe(self, features: Features) -> dict[str, str]:
        """Fill and unit."""
        return {"removal": self.removal.name, "unit": features.describe()}
