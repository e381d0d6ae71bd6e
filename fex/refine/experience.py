"""What queries of other inputs teach about an explainer's maps: how far to trust them, and how far they will miss."""

from typing import Any

import torch
from torch import Tensor

from fex.metrics.functional.bootstrap import bootstrap_interval
from fex.refine.design import refinement_masks
from fex.refine.fidelity import ALIKE
from fex.refine.foresight import Foresight
from fex.refine.refined import Refined
from fex.refine.regression import posterior
from fex.refine.trust import Trust

__all__ = ["Experience"]


class Experience:
    """Gathers, input by input, what the black box says of an explainer's maps; for training and validation inputs.

    Args:
        refined: has the box, the removal, the features and the number of queries an input.

    Attributes:
        evidence: log-evidence of each assumption (n, *Trust().shape), float64.
        misses: mean squared misses of each input's answers, by the map and by the number of removed features (n, 2).
        signs: of each input, where they were given (n, F), float64.

    Example:
        ``experience.add(inputs, classes, explainer.attribute_features(inputs, classes)); experience.trust()``
    """

    def __init__(self, refined: Refined) -> None:
        self.refined = refined
        self.evidence = torch.zeros(0, *Trust().shape, dtype=torch.float64)
        self.misses = torch.zeros(0, 2, dtype=torch.float64)
        self.signs: Tensor | None = None

    @torch.no_grad()
    def add(self, inputs: Tensor, classes: Tensor, maps: Tensor, signs: Tensor | None = None) -> None:
        """Asks the box about each input.

        Args:
            inputs: (B, ...).
            classes: whose maps they are (B,), int64.
            maps: (B, N).
            signs: of each input (B, F), see `fex.refine.foresight`; always or never.
        """
        refined = self.refined
        places, seeds = refined.places(inputs), refined.features.seeds(inputs, refined.seed)
        masks = [
            refinement_masks(len(place), refined.features.grid, 0, refined.queries, seed).to(inputs.device)
            for place, seed in zip(places, seeds, strict=True)
        ]
        scores = refined.ask(inputs, classes.unsqueeze(1), masks, places)[:, :, 0]
        for row, (mask, place) in enumerate(zip(masks, places, strict=True)):
            answers = scores[row : row + 1].double()
            if not len(place) or not refined.queries:
                continue
            found = posterior(mask[None], answers, maps[row : row + 1, place], Trust(), refined.features.grid)
            missed = torch.stack([found.by_map, found.by_count], 2).sub(answers.unsqueeze(2)).square().mean(1)
            self.evidence = torch.cat([self.evidence, found.evidence.cpu()])
            self.misses = torch.cat([self.misses, missed.cpu()])
            if signs is not None:
                sign = signs[row : row + 1].double().cpu()
                self.signs = sign if self.signs is None else torch.cat([self.signs, sign])

    def trust(self) -> Trust:
        """The weights that make all answers likeliest."""
        return Trust().learnt(self.evidence)

    def foresight(self) -> Foresight | None:
        """What foretells the size of the misses at no query; None without signs."""
        return None if self.signs is None else Foresight.learnt(self.signs, self.misses[:, 0])

    def fidelity(self) -> dict[str, Any] | None:
        """Of the maps as they are, over all inputs: plain data; None where nothing is to be foreseen.

        Value, low and high are one minus the sum of all squared misses by the maps over those by the number of removed
        features, with its 95 % interval over inputs; the mean of each input's own would be that of the flattest one.
        """
        if not len(self.misses) or float(self.misses[:, 1].mean()) < ALIKE**2:
            return None
        found = bootstrap_interval(
            self.misses, statistic=lambda means: 1 - means[..., 0] / means[..., 1].clamp_min(1e-300), resamples=2000
        )
        numbers = {key: float(f"{value:.4g}") for key, value in found._asdict().items()}
        return {**numbers, "inputs": len(self.misses), "queries": self.refined.queries}
