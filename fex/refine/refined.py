"""An explainer's map, refined and measured by a few queries of this very input."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from fex.baselines.base import FeatureExplainer
from fex.baselines.queried import target_classes
from fex.black_box.base import BlackBox
from fex.masking.masker import masked_probabilities, masker_for
from fex.modality import Features, Removal
from fex.refine.design import refinement_masks
from fex.refine.fidelity import Fidelity, fidelity
from fex.refine.regression import Trust, posterior

__all__ = ["Prior", "Refined", "Refinement"]


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
        fidelity: of this map, one an input: how well answers that it was not fitted to are foreseen.
        own_fidelity: of the explainer's map alone, measured by the same queries.
        queries: asked of each input so far.
    """

    attribution: Tensor
    std: Tensor
    fidelity: list[Fidelity]
    own_fidelity: list[Fidelity]
    queries: int


class Refined(FeatureExplainer):
    """Combines the map of an explainer with a few queries: Bayesian regression whose prior mean is the map.

    How far the map is trusted follows from the queries themselves (`fex.refine.regression`): a good map needs few, a
    random one is soon ignored.

    Args:
        explainer: gives the map; at no query where it is amortized.
        black_box: is asked `queries` times an input, and once more where no target is given.
        removal: what stands in for a removed feature; by default the mean colour, or the mask token.
        queries: K.
        trust: what is assumed of the map beforehand.
        seed: of the masks; together with the input it decides them, whatever the batch.

    Raises:
        ValueError: a negative number of queries.
    """

    def __init__(
        self,
        explainer: Prior,
        black_box: BlackBox,
        removal: Removal | None = None,
        *,
        queries: int = 64,
        trust: Trust | None = None,
        seed: int = 0,
    ) -> None:
        if queries < 0:
            raise ValueError(f"queries must not be negative, got {queries}.")
        super().__init__(explainer.features)
        self.explainer, self.black_box, self.queries = explainer, black_box, queries
        self.masker = masker_for(black_box, explainer.features, removal)
        self.removal = self.masker.removal
        self.trust, self.seed = trust or Trust(), seed

    def attribute_features(self, inputs: Tensor, target: Tensor | int | None = None) -> Tensor:
        """Scores (B, N), float32; see `Refinement.attribution`."""
        return self.refine(inputs, target).attribution

    def refine(self, inputs: Tensor, target: Tensor | int | None = None) -> Refinement:
        """All queries at once, with what they say of the map."""
        *_, last = self.iterate(inputs, target, step=max(1, self.queries))
        return last

    @torch.no_grad()
    def iterate(self, inputs: Tensor, target: Tensor | int | None = None, step: int = 16) -> Iterator[Refinement]:
        """The map before any query, then after each `step` of them, up to `queries`; stop when satisfied.

        Args:
            inputs: (B, ...), as the black box takes them.
            target: class, one for all or (B,); by default the box's, at one query an input.
            step: queries of each input between two maps, at least 1.
        """
        if step < 1:
            raise ValueError(f"step must be at least 1, got {step}.")
        classes = target_classes(self.black_box, inputs, target)
        prior = self.explainer.attribute_features(inputs, classes)
        places = self._places(inputs)
        seeds = self.features.seeds(inputs, self.seed)
        nothing = [Fidelity(float("nan"), float("nan"), float("nan"), 0)] * len(inputs)
        yield Refinement(prior, torch.full_like(prior, torch.nan), nothing, nothing, 0)
        masks = [torch.zeros(0, len(place), dtype=torch.bool, device=inputs.device) for place in places]
        scores = prior.new_zeros(len(inputs), 0)
        for first in range(0, self.queries, step):
            last = min(first + step, self.queries)
            new = [
                refinement_masks(len(place), self._grid, first, last, seed).to(inputs.device)
                for place, seed in zip(places, seeds, strict=True)
            ]
            scores = torch.cat([scores, self._ask(inputs, classes, new, places)], 1)
            masks = [torch.cat(both) for both in zip(masks, new, strict=True)]
            yield self._found(prior, masks, scores, places)

    @property
    def _grid(self) -> tuple[int, int] | None:
        return self.features.grid

    def _places(self, inputs: Tensor) -> list[Tensor]:
        """Which of the N entries are features of each instance."""
        valid = self.features.valid(inputs)
        if valid is None:
            return [torch.arange(self.features.count(inputs), device=inputs.device)] * len(inputs)
        return [row.nonzero().squeeze(1) for row in valid]

    def _ask(self, inputs: Tensor, classes: Tensor, masks: list[Tensor], places: list[Tensor]) -> Tensor:
        """Scores (B, k) of new masks; what is no feature is never removed."""
        width = self.features.count(inputs)
        every = torch.ones(len(inputs), len(masks[0]) if masks else 0, width, device=inputs.device)
        for row, mask, place in zip(every, masks, places, strict=True):
            row[:, place] = mask.to(every.dtype)
        return masked_probabilities(self.black_box, self.masker, inputs, every, classes)

    def _found(self, prior: Tensor, masks: list[Tensor], scores: Tensor, places: list[Tensor]) -> Refinement:
        values, errors = torch.zeros_like(prior), torch.zeros_like(prior)
        after: list[Any] = [None] * len(prior)
        before: list[Any] = [None] * len(prior)
        for row, (mask, place) in enumerate(zip(masks, places, strict=True)):
            if not len(place):
                after[row] = before[row] = Fidelity(float("nan"), float("nan"), float("nan"), scores.shape[1])
                continue
            answers = scores[row : row + 1]
            found = posterior(mask[None], answers, prior[row : row + 1, place], self.trust, self._grid)
            values[row, place], errors[row, place] = found.mean[0].to(values), found.std[0].to(errors)
            by_count = found.by_count[0]
            after[row] = fidelity(answers[0].double(), found.predicted[0], by_count)
            before[row] = fidelity(answers[0].double(), found.by_map[0], by_count)
        return Refinement(values, errors, after, before, scores.shape[1])
