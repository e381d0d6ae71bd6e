"""Evaluation protocols: named objects that fix fill, unit, steps, what is scored, and what is averaged.

Papers use the same names for different numbers; every table here names its protocol (`fex.metrics.protocol` says what
one is). Those that perturb or compare with masks are here; each of the others has a file of its own.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from typing import ClassVar, Literal

from torch import Tensor

from fex.black_box.base import BlackBox
from fex.images.features import PatchGrid
from fex.images.removal import Black, Blur, Mean, Noise
from fex.masking.masker import masker_for
from fex.metrics.class_discrimination import ClassDiscrimination
from fex.metrics.curve import Curve, shares_curves
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
from fex.metrics.infidelity import Infidelity
from fex.metrics.model_randomisation import ModelRandomisation
from fex.metrics.protocol import Attributed, Protocol, Summary, mean_value
from fex.metrics.saco import SaCo
from fex.metrics.sensitivity import Sensitivity
from fex.modality import Features, Removal
from fex.sounds.removal import Silence
from fex.storage.resources import look_beside

__all__ = ["PROTOCOLS", "Attributed", "Perturbation", "Protocol", "Segmentation", "Summary", "get_protocol"]


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

    modality: ClassVar[str | None] = "image"
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
        return shares_curves(means, self.fractions, ("share removed", self.measure))

    @property
    def needs(self) -> tuple[str, ...]:
        """Labels, where they are scored."""
        return ("labels",) if self.scored == "label" else ()

    def evaluate(self, black_box: BlackBox, data: Attributed, *, seed: int = 0) -> dict[str, Tensor]:
        """Both curves (B, S); spends 2 queries an instance for each share above 0. Ties are broken by `seed`."""
        self.check_features(data.features)
        self.check_data(data.known)
        target = data.labels if self.scored == "label" else data.clean.argmax(1)
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

    modality: ClassVar[str | None] = "image"
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
        "average_precision": Summary("average_precision", mean_value),
        "two_class_average_precision": Summary("two_class_average_precision", mean_value),
        "pointing_game": Summary("pointing_game", mean_value),
    }

    @property
    def needs(self) -> tuple[str, ...]:
        """Masks."""
        return ("masks",)

    def evaluate(self, black_box: BlackBox, data: Attributed, *, seed: int = 0) -> dict[str, Tensor]:  # noqa: ARG002
        """Counts (B, 4) and scores (B,); no queries."""
        self.check_features(data.features)
        self.check_data(data.known)
        assert data.masks is not None
        return {
            "confusion": confusion(foreground(data.maps), data.masks, data.ignored).float(),
            "average_precision": average_precision(normalise_maps(data.maps), data.masks, data.ignored),
            "two_class_average_precision": two_class_average_precision(data.maps, data.masks, data.ignored),
            "pointing_game": pointing_game(data.maps, data.masks, self.tolerance, data.ignored),
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
        # Beyond the papers of FEX, DAX and IASSA.
        SaCo("saco"),
        Infidelity("infidelity"),
        Sensitivity("sensitivity"),
        ClassDiscrimination("class_discrimination"),
        ModelRandomisation("model_randomisation"),
    )
}
REMOVALS: dict[str, Removal] = {removal.name: removal for removal in (Mean(), Black(), Blur(), Noise(), Silence())}


def _removes_pixels(protocol: Protocol) -> bool:
    """Whether a protocol has one fill, of images."""
    return getattr(getattr(protocol, "removal", None), "modality", None) == "image"


def _own(path: str) -> Protocol:
    """A protocol from outside, by class path, with its defaults; it is called by that path."""
    module, _, name = path.rpartition(".")
    look_beside()
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"Found no protocol {path!r} ({error}): give an importable class path.") from error
    if not (isinstance(found, type) and issubclass(found, Protocol)):
        raise ValueError(f"{path!r} is no subclass of fex.metrics.Protocol.")
    return found(path)


def get_protocol(name: str) -> Protocol:
    """A protocol by name; ``fex/blur`` is `fex` with another fill, for those that remove features.

    Args:
        name: one of `PROTOCOLS`, or "package.module.Class" of one's own, whose module is imported: name only code that
            you would run.

    Raises:
        ValueError: an unknown name; lists the known ones.
    """
    base, _, fill = name.partition("/")
    if base not in PROTOCOLS and "." not in base:
        raise ValueError(
            f"Got protocol {name!r}, expected one of {', '.join(sorted(PROTOCOLS))}, or the class path of your own."
        )
    protocol = PROTOCOLS.get(base) or _own(base)
    if not fill:
        return protocol
    perturbing = [key for key, known in PROTOCOLS.items() if _removes_pixels(known)]
    if fill not in REMOVALS or not _removes_pixels(protocol):
        raise ValueError(
            f"Got protocol {name!r}: another removal is written NAME/REMOVAL, with NAME one of "
            f"{', '.join(perturbing)} and REMOVAL one of {', '.join(REMOVALS)}."
        )
    return replace(protocol, name=name, removal=REMOVALS[fill])
