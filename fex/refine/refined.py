"""An explainer's map, refined and measured by a few queries of this very input."""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from fex.baselines.base import FeatureExplainer
from fex.baselines.queried import target_classes
from fex.black_box.alike import check_own_box
from fex.black_box.base import BlackBox
from fex.black_box.loading import load_black_box
from fex.class_names import Target, one_class_each
from fex.images.removal import Black, Mean
from fex.masking.masker import masked_probabilities, masker_for
from fex.modality import Removal
from fex.refine.design import refinement_masks
from fex.refine.fidelity import Fidelity, fidelity
from fex.refine.refinement import Prior, Refinement, joined
from fex.refine.regression import posterior
from fex.refine.trust import Trust
from fex.sounds.removal import Silence
from fex.texts.removal import DropToken, MaskToken

__all__ = ["Refined"]


# Those without settings: the name says all.
_REMOVALS: dict[str, type[Removal]] = {kind.name: kind for kind in (Mean, Black, MaskToken, DropToken, Silence)}


class Refined(FeatureExplainer):
    """Combines the map of an explainer with a few queries: Bayesian regression whose prior mean is the map.

    How far the map is trusted follows from the queries themselves (`fex.refine.regression`): a good map needs few, a
    random one is soon ignored.

    Args:
        explainer: gives the map; at no query where it is amortized.
        black_box: is asked `queries` times an input, and once more where no target is given; the box itself, or what
            `fex.load_black_box` takes.
        removal: what stands in for a removed feature; by default the explainer's own, or else the mean colour or the
            mask token.
        queries: K.
        until: goes on, K queries more at a time, until the lower end of the fidelity is at least this. The value
            itself would stop at lucky answers.
        most: queries an input after which it stops whatever the fidelity; by default 16 K.
        trust: what is assumed of the map beforehand; by default what the explainer's checkpoint says, or equal weights.
        seed: of the masks; together with the input it decides them, whatever the batch.

    Raises:
        ValueError: a negative number of queries; `until` outside (0, 1), `most` without it or below K; a box that is
            not the explainer's; a removal that is known by its name alone.
    """

    def __init__(
        self,
        explainer: Prior,
        black_box: BlackBox | str,
        removal: Removal | None = None,
        *,
        queries: int = 64,
        until: float | None = None,
        most: int | None = None,
        trust: Trust | None = None,
        seed: int = 0,
    ) -> None:
        _check_numbers(queries, until, most)
        if not hasattr(explainer, "attribute_features") or getattr(explainer, "features", None) is None:
            raise ValueError(
                f"{type(explainer).__name__} scores no features, so there is no map to refine: give an explainer with "
                "`features` and `attribute_features`, such as a trained one or one of fex.baselines."
            )
        super().__init__(explainer.features)
        box = load_black_box(black_box) if isinstance(black_box, str) else black_box
        if hasattr(explainer, "check_box"):  # a trained one, whose inputs and classes are those of its own box
            explainer.check_box(box)
        check_own_box(explainer, box)
        self.explainer, self.black_box, self.queries = explainer, box, queries
        self.until, self.most = until, most or 16 * queries
        self.masker = masker_for(box, explainer.features, removal or _removal_of(explainer))
        self.removal = self.masker.removal
        self.trust, self.seed = trust or getattr(explainer, "trust", None) or Trust(), seed

    @property
    def method(self) -> str:
        """How results are named, but for the number of queries."""
        return str(getattr(self.explainer, "method", type(self.explainer).__name__))

    @property
    def class_names(self) -> list[str]:
        """The explainer's, where it has names; a box may have none."""
        return list(getattr(self.explainer, "class_names", self.black_box.class_names))

    def _classes(self, inputs: Tensor, target: Target | None) -> Tensor:
        return target_classes(
            self.black_box, inputs, None if target is None else one_class_each(target, self.class_names)
        )

    def to(self, device: torch.device | str) -> "Refined":
        """Moves the explainer; the box stays where it is."""
        if hasattr(self.explainer, "to"):
            self.explainer.to(device)
        return self

    def attribute_features(self, inputs: Tensor, target: Target | None = None) -> Tensor:
        """Scores (B, N), float32; see `Refinement.attribution`."""
        return self.refine(inputs, target).attribution

    def refine(self, inputs: Tensor, target: Target | None = None) -> Refinement:
        """The map after all queries, and what they say of it."""
        classes = self._classes(inputs, target)
        return self.refine_classes(inputs, classes.unsqueeze(1))[0]

    def refine_classes(self, inputs: Tensor, classes: Tensor) -> list[Refinement]:
        """The same for T classes (B, T) of each input, which share its queries: T results."""
        if self.until is None or not len(inputs):
            *_, last = self._steps(inputs, classes, max(1, self.queries), self.queries)
            return last
        rows = [self._until(inputs[row : row + 1], classes[row : row + 1], self.until) for row in range(len(inputs))]
        return [joined(list(parts)) for parts in zip(*rows, strict=True)]

    def _until(self, inputs: Tensor, classes: Tensor, until: float) -> list[Refinement]:
        """Of one input: as many queries as its fidelity needs."""
        for found in self._steps(inputs, classes, self.queries, self.most):  # noqa: B007 the last one counts
            if all(each.fidelity[0].low >= until for each in found):
                break
        return found

    def iterate(self, inputs: Tensor, target: Target | None = None, step: int = 16) -> Iterator[Refinement]:
        """The map before any query, then after each `step` of them, up to `queries`; stop when satisfied.

        Args:
            inputs: (B, ...), as the black box takes them.
            target: class, one for all or (B,); by default the box's, at one query an input.
            step: queries of each input between two maps, at least 1.
        """
        if step < 1:
            raise ValueError(f"step must be at least 1, got {step}.")
        classes = self._classes(inputs, target)
        for found in self._steps(inputs, classes.unsqueeze(1), step, self.queries):
            yield found[0]

    @torch.no_grad()
    def _steps(self, inputs: Tensor, classes: Tensor, step: int, most: int) -> Iterator[list[Refinement]]:
        """After 0, `step`, 2 `step` ... `most` queries: a refinement for each of the T classes (B, T)."""
        priors = [self.explainer.attribute_features(inputs, chosen) for chosen in classes.unbind(1)]
        places = self.places(inputs)
        seeds = self.features.seeds(inputs, self.seed)
        nothing = [Fidelity(math.nan, math.nan, math.nan, 0)] * len(inputs)
        yield [Refinement(own, torch.full_like(own, math.nan), own, nothing, nothing, 0) for own in priors]
        masks = [torch.zeros(0, len(place), dtype=torch.bool, device=inputs.device) for place in places]
        scores = torch.zeros(len(inputs), 0, classes.shape[1], device=inputs.device)
        for first in range(0, most, step):
            last = min(first + step, most)
            new = [
                refinement_masks(len(place), self._grid, first, last, seed).to(inputs.device)
                for place, seed in zip(places, seeds, strict=True)
            ]
            scores = torch.cat([scores, self.ask(inputs, classes, new, places)], 1)
            masks = [torch.cat(both) for both in zip(masks, new, strict=True)]
            answers = zip(priors, scores.unbind(2), strict=True)
            yield [self._found(own, masks, answer, places) for own, answer in answers]

    @property
    def _grid(self) -> tuple[int, int] | None:
        return self.features.grid

    def places(self, inputs: Tensor) -> list[Tensor]:
        """Which of the N entries are features of each instance."""
        valid = self.features.valid(inputs)
        if valid is None:
            return [torch.arange(self.features.count(inputs), device=inputs.device)] * len(inputs)
        return [row.nonzero().squeeze(1) for row in valid]

    def ask(self, inputs: Tensor, classes: Tensor, masks: list[Tensor], places: list[Tensor]) -> Tensor:
        """Scores (B, k, T) of new masks, one query each whatever T; what is no feature is never removed."""
        width = self.features.count(inputs)
        every = torch.ones(len(inputs), len(masks[0]) if masks else 0, width, device=inputs.device)
        for row, mask, place in zip(every, masks, places, strict=True):
            row[:, place] = mask.to(every.dtype)
        # Under the autocast of a loop the box would answer in half precision.
        with torch.autocast(inputs.device.type, enabled=False):
            if classes.shape[1] == 1:
                return masked_probabilities(self.black_box, self.masker, inputs, every, classes[:, 0]).unsqueeze(2)
            answers = masked_probabilities(self.black_box, self.masker, inputs, every)
        return answers.gather(2, classes.unsqueeze(1).expand(-1, answers.shape[1], -1).to(answers.device))

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
        return Refinement(values, errors, prior, after, before, scores.shape[1])


def _check_numbers(queries: int, until: float | None, most: int | None) -> None:
    if queries < 0:
        raise ValueError(f"queries must not be negative, got {queries}.")
    if until is None and most is not None:
        raise ValueError(f"Got most={most} without `until`: {queries} queries an input are asked, no more.")
    if until is not None and (not 0 < until < 1 or queries < 1):
        raise ValueError(f"until must lie between 0 and 1 and queries be at least 1, got {until} and {queries}.")
    if most is not None and most < queries:
        raise ValueError(f"most is {most}, less than the {queries} queries that are asked at once.")


def _removal_of(explainer: Any) -> Removal | None:
    """The removal that an explainer was made for; None where it knows none.

    Raises:
        ValueError: one that its name does not say all about.
    """
    own = getattr(explainer, "removal", None)
    if not isinstance(own, str):
        return own if isinstance(own, Removal) else None
    if own not in _REMOVALS:
        raise ValueError(
            f"{type(explainer).__name__} was trained for removal {own!r}, which has settings that its name does not "
            "tell: give that `removal`, or maps and queries are about different questions."
        )
    return _REMOVALS[own]()
