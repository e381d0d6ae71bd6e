"""Protocol `sensitivity`: see `fex.metrics.functional.sensitivity`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from fex.black_box.base import BlackBox
from fex.metrics.functional.sensitivity import largest_relative_change
from fex.metrics.protocol import Attributed, Protocol, Summary, mean_value

__all__ = ["Sensitivity"]


@dataclass(frozen=True)
class Sensitivity(Protocol):
    """Largest relative change of the attributions over random inputs near each input; lower is better.

    A map that does not depend on the input (a centre prior) scores 0: read it beside faithfulness, never alone.

    Attributes:
        radius: largest change of a pixel, in units of the [0, 1] range; the authors' 0.02 is captum's too.
        draws: K inputs near each; the method runs K more times.
    """

    modality: ClassVar[str | None] = "image"
    radius: float = 0.02
    draws: int = 10

    components: ClassVar[Mapping[str, int]] = {"change": 1}  # type: ignore[misc]
    summaries: ClassVar[Mapping[str, Summary]] = {"sensitivity_max": Summary("change", mean_value)}  # type: ignore[misc]

    def evaluate(self, black_box: BlackBox, data: Attributed, *, seed: int = 0) -> dict[str, Tensor]:  # noqa: ARG002
        """Largest change (B,) for the explained class; asks the explainer K times an instance."""
        self.check_features(data.features)
        explain = data.explainer_for(self.name)
        target = data.explained
        seeds = data.features.seeds(data.inputs, seed)
        generators = [torch.Generator().manual_seed(each) for each in seeds]
        changed = []
        for _ in range(self.draws):
            noise = torch.stack([torch.rand(data.inputs.shape[1:], generator=each) for each in generators])
            near = data.inputs + self.radius * (2 * noise.to(data.inputs) - 1)
            changed.append(explain(near.clamp(0, 1), target)[0])
        return {"change": largest_relative_change(data.scores, torch.stack(changed, 1))}
