"""The protocols of RISE, DAX and IASSA: deletion and insertion by pixels, regions by threshold, events in time."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from fex.black_box.base import BlackBox
from fex.images.features import PatchGrid
from fex.masking.sampling import incorrect_classes
from fex.metrics.deletion_protocols import DeletionInsertion, RegionDeletion
from fex.metrics.functional.regions import activated_region, f1_score, foreground_iou, salient_region, top_activated
from fex.metrics.functional.segmentation import confusion, pointing_game
from fex.metrics.protocol import mean_value
from fex.metrics.protocols import PROTOCOLS, Attributed, Protocol, Summary

__all__ = ["IncorrectRegionIoU", "IntervalIoU", "RegionIoU", "RegionScores"]


def _mean(mean: Tensor) -> Tensor:
    return mean


def _first(moments: Tensor) -> Tensor:
    return moments[..., 0]


def _deviation(moments: Tensor) -> Tensor:
    return (moments[..., 1] - moments[..., 0].square()).clamp(min=0).sqrt()


def _masks(protocol: Protocol, data: Attributed) -> Tensor:
    protocol.check_data(data.known)
    assert data.masks is not None
    return data.masks


@dataclass(frozen=True)
class RegionIoU(Protocol):
    """IoU of each image's salient region (mean + one standard deviation) with its mask: mean and sd (DAX, Table II).

    Beside it, what a low IoU does not tell: a region that lies elsewhere (low precision, the share of it that is
    inside the mask; 0 where there is no region) from one that is too small (low recall, the share of the mask that it
    covers). An image whose mask is empty, a clip without the event, has nothing to be found and no score.
    """

    modality: ClassVar[str | None] = "image"
    components: ClassVar[Mapping[str, int]] = {"iou_moments": 2, "precision": 1, "recall": 1}  # type: ignore[misc]
    summaries: ClassVar[Mapping[str, Summary]] = {  # type: ignore[misc]
        "iou": Summary("iou_moments", _first),
        "iou_sd": Summary("iou_moments", _deviation),
        "precision": Summary("precision", mean_value),
        "recall": Summary("recall", mean_value),
    }

    @property
    def needs(self) -> tuple[str, ...]:
        """Masks."""
        return ("masks",)

    def _compared(self, data: Attributed) -> tuple[Tensor, Tensor, Tensor | None]:
        """Maps, masks and the pixels that are not counted."""
        return data.maps, _masks(self, data), data.ignored

    def evaluate(self, black_box: BlackBox, data: Attributed, *, seed: int = 0) -> dict[str, Tensor]:  # noqa: ARG002
        """First and second moment of the IoU, (B, 2), precision and recall, (B,); no queries."""
        self.check_features(data.features)
        maps, masks, ignored = self._compared(data)
        counts = confusion(salient_region(maps), masks, ignored)
        there = (counts[:, 0] + counts[:, 2]) > 0
        iou = foreground_iou(counts).where(there, torch.nan)
        inside, outside, missed, _ = counts.float().unbind(1)
        return {
            "iou_moments": torch.stack([iou, iou.square()], 1),
            "precision": (inside / (inside + outside).clamp(min=1)).where(there, torch.nan),
            "recall": inside / (inside + missed),
        }


@dataclass(frozen=True)
class IncorrectRegionIoU(RegionIoU):
    """The same of the explanation of a class that the box did not predict, drawn at random (DAX, Table II).

    A method that ignores the class scores as high here as in `dax-iou`: the lower the better, and best read beside it.
    """

    summaries: ClassVar[Mapping[str, Summary]] = {  # type: ignore[misc]
        "incorrect_iou": Summary("iou_moments", _first),
        "incorrect_iou_sd": Summary("iou_moments", _deviation),
    }

    def evaluate(self, black_box: BlackBox, data: Attributed, *, seed: int = 0) -> dict[str, Tensor]:
        """As `RegionIoU`, of that explanation; asks the explainer once an instance."""
        self.check_features(data.features)
        self.check_data(data.known)
        other = incorrect_classes(data.inputs, data.clean, seed + 1)
        scores, maps = data.explainer_for(self.name)(data.inputs, other)
        return super().evaluate(black_box, replace(data, scores=scores, maps=maps, target=other), seed=seed)


@dataclass(frozen=True)
class IntervalIoU(RegionIoU):
    """IoU in time: maps are means over frequency, truth is where the event is (DAX, Tables VII and VIII)."""

    def _compared(self, data: Attributed) -> tuple[Tensor, Tensor, Tensor | None]:
        masks, ignored = _masks(self, data), data.ignored
        events = (masks if ignored is None else masks & ~ignored).any(-2)
        return data.maps.mean(-2), events, None if ignored is None else ignored.any(-2) & ~events

    def describe(self, features: PatchGrid) -> dict[str, str]:  # noqa: ARG002
        """Nothing is removed."""
        return {"removal": "-", "unit": "frames"}


@dataclass(frozen=True)
class RegionScores(Protocol):
    """F1, IoU, pointing game, deletion and insertion, an image and a pixel (IASSA, Table 1).

    At pixel level each value is divided by the number of pixels in the top 30 % of the map's range.

    Attributes:
        threshold: of the map scaled to [0, 1], for F1 and IoU.
        perturbed: deletion and insertion.
    """

    modality: ClassVar[str | None] = "image"
    threshold: float = 0.3
    perturbed: DeletionInsertion = field(default_factory=partial(DeletionInsertion, "", steps=28))
    values: ClassVar[tuple[str, ...]] = ("f1", "iou", "pointing_game", "deletion", "insertion")

    @property
    def components(self) -> Mapping[str, int]:
        """Each value, an image and a pixel."""
        return {f"{value}{level}": 1 for level in ("", "_per_pixel") for value in self.values}

    @property
    def summaries(self) -> Mapping[str, Summary]:
        """Means."""
        return {name: Summary(name, _mean) for name in self.components}

    @property
    def needs(self) -> tuple[str, ...]:
        """Masks."""
        return ("masks",)

    def evaluate(self, black_box: BlackBox, data: Attributed, *, seed: int = 0) -> dict[str, Tensor]:
        """Scores (B,); spends 2 queries an instance and step of the curves."""
        self.check_features(data.features)
        masks = _masks(self, data)
        counts = confusion(activated_region(data.maps, self.threshold), masks, data.ignored)
        found = self.perturbed.evaluate(black_box, data, seed=seed)
        there = (counts[:, 0] + counts[:, 2]) > 0  # without an object there is none to find
        each = (
            f1_score(counts).where(there, torch.nan),
            foreground_iou(counts).where(there, torch.nan),
            pointing_game(data.maps, masks, ignored=data.ignored),
            self.perturbed.auc(found["deletion_curve"]),
            self.perturbed.auc(found["insertion_curve"]),
        )
        active = top_activated(data.maps)
        image = dict(zip(self.values, each, strict=True))
        return {**image, **{f"{name}_per_pixel": value / active for name, value in image.items()}}

    def describe(self, features: PatchGrid) -> dict[str, str]:
        """Of the curves."""
        return self.perturbed.describe(features)


PROTOCOLS.update(
    {
        protocol.name: protocol
        for protocol in (
            DeletionInsertion("rise"),
            RegionDeletion("dax"),
            RegionIoU("dax-iou"),
            IncorrectRegionIoU("dax-iou-incorrect"),
            IntervalIoU("interval-iou"),
            RegionScores("iassa"),
        )
    }
)
