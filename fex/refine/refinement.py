"""What a refinement starts from, and where it stands."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from fex.modality import Features
from fex.refine.fidelity import Fidelity

__all__ = ["Prior", "Refinement", "joined"]


class Prior(Protocol):
    """Any explainer that scores features: FEX, FastSHAP, GradCAM, ..."""

    features: Features

    def attribute_features(self, inputs: Tensor, target: Tensor | int | None = None) -> Tensor:
        """Scores (B, N)."""
        ...


@dataclass(frozen=True)
class Refinement:
    """Where a refinement stands after some queries; B inputs.

    Attributes:
        attribution: effect of keeping each feature on the score (B, N), float32, centred, in units of probability;
            without queries the explainer's own map, bit for bit.
        std: its standard error (B, N), float32; NaN without queries.
        own: the explainer's own map (B, N).
        fidelity: of this map, one an input: how well answers that it was not fitted to are foreseen.
        own_fidelity: of the explainer's own map, measured by the same queries.
        queries: asked of each input so far; of several inputs the most.
    """

    attribution: Tensor
    std: Tensor
    own: Tensor
    fidelity: list[Fidelity]
    own_fidelity: list[Fidelity]
    queries: int


def joined(parts: list[Refinement]) -> Refinement:
    """Refinements of single inputs as one."""
    return Refinement(
        torch.cat([part.attribution for part in parts]),
        torch.cat([part.std for part in parts]),
        torch.cat([part.own for part in parts]),
        [part.fidelity[0] for part in parts],
        [part.own_fidelity[0] for part in parts],
        max(part.queries for part in parts),
    )
