"""Evaluation protocols: named objects that fix fill, unit, steps, what is scored, and what is averaged.

Papers use the same names for different numbers; every table here names its protocol. A protocol turns attributions
into **components**, tensors with one row an instance, and says which **summaries** are reported: each a function of
one component's mean over instances, so that a ratio over a whole data set (IoU) and a mean of per-image values
(average precision) are summed across processes and bootstrapped alike. A component's row is NaN where an instance
has no such value; it is left out of that summary and of its count.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal, NamedTuple

from torch import Tensor

from fex.black_box.base import BlackBox
from fex.features import Features, PatchGrid
from fex.masking import masker_for
from fex.metrics.curve import Curve
from fex.metrics.functional.perturbation import Measure, mean_auc, perturbation_curve, trapezoid_auc
from fex.metrics.functional.segmentation import (
    average_precision,
    confusion,
    foreground,
    mean_iou,
    normalise_maps,
    pixel_accuracy,
    pointing_game,
    two_class_average_precision,
)
from fex.removal import Black, Mean, Removal

__all__ = ["PROTOCOLS", "Attributed", "Perturbation", "Protocol", "Segmentation", "Summary", "get_protocol"]


@dataclass(frozen=True)
class Attributed:
    """Instances with their attributions; what every protocol evaluates.

    Attributes:
        inputs: (B, ...), as the black box takes them.
        scores: attributions (B, N) of the features.
        maps: attributions (B, H, W) of the pixels: bilinear, where the explainer scores features; of tokens (B, L).
        features: the N features.
        clean: the black box's probabilities (B, C) of the inputs.
        labels: true classes (B,), or None.
        masks: ground-truth foreground (B, H, W) or rationale (B, L), bool, or None.
        words: number of each token's word (B, L), int64, -1 where there is none, or None.
    """

    inputs: Tensor
    scores: Tensor
    maps: Tensor
    features: Features
    clean: Tensor
    labels: Tensor | None = None
    masks: Tensor | None = None
    words: Tensor | None = None


class Summary(NamedTuple):
    """A reported number: `statistic` of the mean of `component` over instances; maps (..., D) or (...) to (...)."""

    component: str
    statistic: Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Protocol(ABC):
    """Base of the protocols.

    Attributes:
        name: the word by which tables name it.
    """

    name: str

    @property
    @abstractmethod
    def components(self) -> Mapping[str, int]:
        """Width D of each component; 1 stands for one value an instance, (B,)."""

    @property
    @abstractmethod
    def summaries(self) -> Mapping[str, Summary]:
        """What is reported, by metric name."""

    @abstractmethod
    def evaluate(self, black_box: BlackBox, data: Attributed, *, seed: int = 0) -> dict[str, Tensor]:
        """Components of `data`, float32, (B,) or (B, D).

        Raises:
            ValueError: `data` has no labels or masks where the protocol needs them.
        """

    def curves(self, means: Mapping[str, Tensor]) -> dict[str, Curve]:  # noqa: ARG002
        """Figures from the components' means over instances, by name; none where the protocol has no steps."""
        return {}

    def describe(self, features: Features) -> dict[str, str]:
        """Fill and unit, for the rows of a table."""
        return {"removal": "-", "unit": "-"}


@dataclass(frozen=True)
class Perturbation(Protocol):
    """Features removed in the order of the attribution, from both ends, on one grid of shares.

    Attributes:
        removal: fill.
        unit: "features" removes the explained features, "pixels" single pixels of the upsampled map.
        fractions: shares removed, the clean point included, for both orders alike.
        scored: against the "predicted" class of the clean input, or the true "label".
        measure: "agreement" of the top class with it, or its "probability".
        area: "mean" of the points or "trapezoid" over the shares.
    """

    removal: Removal
    unit: Literal["features", "pixels"]
    fractions: tuple[float, ...]
    scored: Literal["predicted", "label"]
    measure: Measure
    area: Literal["mean", "trapezoid"]

    @property
    def components(self) -> Mapping[str, int]:
        """The two curves."""
        return {"positive_curve": len(self.fractions), "negative_curve": len(self.fractions)}

    @property
    def auc(self) -> Callable[[Tensor], Tensor]:
        """Area under curves (..., S) -> (...)."""
        return mean_auc if self.area == "mean" else partial(trapezoid_auc, fractions=self.fractions)

    @property
    def summaries(self) -> Mapping[str, Summary]:
        """Positive AUC, most important first: lower is better. Negative AUC, least important first: higher."""
        return {
            "positive_auc": Summary("positive_curve", self.auc),
            "negative_auc": Summary("negative_curve", self.auc),
        }

    def curves(self, means: Mapping[str, Tensor]) -> dict[str, Curve]:
        """Both, over the share that is removed."""
        return {
            name: Curve("share removed", self.measure, list(self.fractions), v.tolist()) for name, v in means.items()
        }

    def evaluate(self, black_box: BlackBox, data: Attributed, *, seed: int = 0) -> dict[str, Tensor]:
        """Both curves (B, S); spends 2 queries an instance for each share above 0. Ties are broken by `seed`."""
        target = data.labels
        if self.scored == "predicted":
            target = data.clean.argmax(1)
        elif target is None:
            raise ValueError(f"Protocol {self.name!r} scores the true label; the data has no labels.")
        if data.features.modality != "image":
            raise ValueError(f"Protocol {self.name!r} is one of images: use text-insertion, faithfulness or eraser.")
        pixels = PatchGrid(data.inputs.shape[-2], data.inputs.shape[-1])
        features, scores = (data.features, data.scores) if self.unit == "features" else (pixels, data.maps.flatten(1))
        curve = partial(
            perturbation_curve,
            black_box,
            masker_for(black_box, features, self.removal),
            data.inputs,
            scores,
            fractions=self.fractions,
            measure=self.measure,
            target=target,
            clean=data.clean,
            seed=seed,
        )
        return {
            "positive_curve": curve(order="most_important_first"),
            "negative_curve": curve(order="least_important_first"),
        }

    def describe(self, features: Features) -> dict[str, str]:
        """Fill and unit."""
        unit = features.describe() if self.unit == "features" else "pixels"
        return {"removal": self.removal.name, "unit": unit}


@dataclass(frozen=True)
class Segmentation(Protocol):
    """Maps against masks: bilinear, scaled to [0, 1] an image, foreground = above the mean.

    Attributes:
        tolerance: pixels by which the pointing game may miss.
    """

    tolerance: int = 0

    components: ClassVar[Mapping[str, int]] = {  # type: ignore[misc]
        "confusion": 4,
        "average_precision": 1,
        "two_class_average_precision": 1,
        "pointing_game": 1,
    }
    summaries: ClassVar[Mapping[str, Summary]] = {  # type: ignore[misc]
        "pixel_accuracy": Summary("confusion", pixel_accuracy),
        "mean_iou": Summary("confusion", mean_iou),
        "average_precision": Summary("average_precision", lambda mean: mean),
        "two_class_average_precision": Summary("two_class_average_precision", lambda mean: mean),
        "pointing_game": Summary("pointing_game", lambda mean: mean),
    }

    def evaluate(self, black_box: BlackBox, data: Attributed, *, seed: int = 0) -> dict[str, Tensor]:  # noqa: ARG002
        """Counts (B, 4) and scores (B,); no queries."""
        if data.masks is None:
            raise ValueError(f"Protocol {self.name!r} compares maps with ground-truth masks; the data has no masks.")
        return {
            "confusion": confusion(foreground(data.maps), data.masks).float(),
            "average_precision": average_precision(normalise_maps(data.maps), data.masks),
            "two_class_average_precision": two_class_average_precision(data.maps, data.masks),
            "pointing_game": pointing_game(data.maps, data.masks, self.tolerance),
        }

    def describe(self, features: Features) -> dict[str, str]:  # noqa: ARG002
        """Nothing is removed."""
        return {"removal": "-", "unit": "pixels"}


TENTHS = tuple(i / 10 for i in range(10))  # 0, 0.1, ... 0.9 removed

PROTOCOLS: dict[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        # The FEX paper's: patches, mean fill, the box's own clean prediction.
        Perturbation("fex", Mean(), "features", TENTHS, "predicted", "agreement", "mean"),
        # Chefer et al. 2021: pixels, black fill, the true label; and their variant against the prediction.
        Perturbation("chefer", Black(), "pixels", TENTHS, "label", "agreement", "trapezoid"),
        Perturbation("chefer_predicted", Black(), "pixels", TENTHS, "predicted", "agreement", "trapezoid"),
        Segmentation("seg"),
    )
}


def get_protocol(name: str) -> Protocol:
    """A protocol by name.

    Raises:
        ValueError: an unknown name; lists the known ones.
    """
    if name not in PROTOCOLS:
        raise ValueError(f"Got protocol {name!r}, expected one of {', '.join(sorted(PROTOCOLS))}.")
    return PROTOCOLS[name]
