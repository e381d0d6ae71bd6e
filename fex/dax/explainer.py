"""DAX: distillation-aided explanations (Bhattacharya et al. 2024). One call for images and spectrograms."""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from fex.black_box.base import BlackBox, resolve_target
from fex.class_names import Target
from fex.dax.fit import Epoch, Networks, fit_instances
from fex.dax.perturbations import Perturbations, working_size
from fex.dax.segmenters import QuickShift, Segmenter
from fex.dax.settings import FitSettings
from fex.images.removal import Mean
from fex.masking.masker import Masker
from fex.modality import Removal
from fex.seeding import pixel_seeds

__all__ = ["DAX", "DAXResult", "Distiller"]

FLAT = 0.05  # of masks in (0, 1): one whose values lie closer together ranks nothing
TOGETHER = 16  # most instances that are fitted at once: what more of them would gain is small, their memory is not


@dataclass(frozen=True, eq=False)
class DAXResult:
    """The explanation of one instance.

    Attributes:
        attribution: (H, W), float32; for DAX the mask f_M(x), in (0, 1), bilinear from the working resolution.
        epochs: losses and masks (h, w) by epoch; empty where there was nothing to fit.
        segments: number of segments.
        queries: black-box queries spent.
    """

    attribution: Tensor
    epochs: list[Epoch]
    segments: int
    queries: int


def predicted_or(black_box: BlackBox, inputs: Tensor, target: Target | None) -> Tensor:
    """The target classes (B,); only an unnamed one costs a query of the input."""
    clean = black_box(inputs) if target is None else inputs.new_zeros(len(inputs), black_box.num_classes)
    return resolve_target(target, clean, black_box.class_names)


class Distiller(ABC):
    """What DAX and its hybrids share: perturb, ask, fit. The budget is spent here and nowhere else.

    Args:
        black_box: any black box.
        removal: fill of what is removed; by default the mean colour.
        segmenter: makes the segments; by default quick shift.
        num_samples: Q, the queries an instance (one more where the target is not given).
        resolution: the networks see as many pixels as a square of this side.
        fit: see `FitSettings`.
        seed: of samples and initial weights; with the pixels it decides them, whatever the batch.

    Raises:
        ValueError: fewer than 2 samples.
    """

    def __init__(
        self,
        black_box: BlackBox,
        removal: Removal | None = None,
        segmenter: Segmenter | None = None,
        *,
        num_samples: int = 6000,
        resolution: int = 40,
        fit: FitSettings | None = None,
        seed: int = 0,
    ) -> None:
        if num_samples < 2:
            raise ValueError(f"Got num_samples={num_samples}, expected a budget of at least 2 queries an instance.")
        self.black_box, self.removal, self.segmenter = black_box, removal or Mean(), segmenter or QuickShift()
        self.num_samples, self.resolution, self.seed = num_samples, resolution, seed
        self.settings = fit or FitSettings()

    def perturb(self, inputs: Tensor, target: Tensor) -> tuple[list[Perturbations], list[int]]:
        """Segments, samples and scores of each instance, Q queries each; and the seeds of its networks."""
        found, seeds = [], pixel_seeds(inputs, self.seed)
        for image, label, seed in zip(inputs.split(1), target.split(1), seeds, strict=True):
            image = image.float()
            masker = Masker(self.segmenter(image[0]), self.removal, self.black_box.mean)
            found.append(
                Perturbations.query(
                    self.black_box,
                    masker,
                    image,
                    label,
                    count=self.num_samples,
                    resolution=self.resolution,
                    seed=seed,
                )
            )
        return found, seeds

    def attribute(self, inputs: Tensor, target: Target | None = None) -> Tensor:
        """Attribution of each pixel, (B, H, W), float32, on the inputs' device.

        Args:
            inputs: (B, 3, H, W), float, in [0, 1].
            target: class, one for all or (B,), by index or name; by default the predicted ones.
        """
        if not len(inputs):
            return inputs.new_zeros(0, *inputs.shape[-2:], dtype=torch.float32)
        return torch.stack([result.attribution for result in self.explain_instances(inputs, target)])

    def explain_instances(self, inputs: Tensor, target: Target | None = None) -> list[DAXResult]:
        """As `attribute`, with everything that was found on the way.

        The instances of one call are fitted together, up to 16 at once. One whose score no perturbation changes (a
        class of probability 0, a picture equal to its fill) has nothing to explain: its map is 0 everywhere, with a
        warning.
        """
        if not len(inputs):
            raise ValueError("Got no instances to explain.")
        # Under a caller's bf16 the copies would be rounded; `FitSettings.precision` is what decides here.
        with torch.autocast(inputs.device.type, enabled=False):
            return self._explain_instances(inputs, target)

    def _explain_instances(self, inputs: Tensor, target: Target | None) -> list[DAXResult]:
        size = (inputs.shape[-2], inputs.shape[-1])
        self.check(size)
        classes = predicted_or(self.black_box, inputs, target)
        instances, seeds = self.perturb(inputs, classes)
        # A picture that is its own fill asks one question, whose answers a box may round differently.
        whole = [one.segments.num_features < 2 for one in instances]
        if any(whole):
            warnings.warn(
                f"{sum(whole)} of {len(instances)} instances have one segment, so there are no places to compare: "
                f"their maps are 0. Give a `segmenter` that finds more in them than {type(self.segmenter).__name__}.",
                stacklevel=4,
            )
        moving = [
            row
            for row, one in enumerate(instances)
            if bool((one.scores != one.scores[0]).any()) and bool(one.parts.any()) and not whole[row]
        ]
        maps = torch.zeros(len(inputs), *inputs.shape[-2:], device=inputs.device)
        epochs: dict[int, list[Epoch]] = {}
        if still := len(instances) - len(moving) - sum(whole):
            warnings.warn(
                f"{still} of {len(instances)} instances keep one score whatever is removed, "
                "so there is nothing to explain: their maps are 0. Check the target class and the removal.",
                stacklevel=4,
            )
        for start in range(0, len(moving), TOGETHER):
            rows = moving[start : start + TOGETHER]
            found, histories = self._fit([instances[row] for row in rows], [seeds[row] for row in rows], size)
            maps[rows] = found.to(maps)
            epochs |= dict(zip(rows, histories, strict=True))
        return [
            DAXResult(maps[row], epochs.get(row, []), one.segments.num_features, self.num_samples + (target is None))
            for row, one in enumerate(instances)
        ]

    def check(self, size: tuple[int, int]) -> None:
        """Whether there are networks of these settings for inputs of (H, W) pixels: before queries are spent on them.

        Raises:
            ValueError: there are none; says which setting to change.
        """
        Networks(working_size(size, self.resolution), self.settings, [0])

    @abstractmethod
    def _fit(
        self, instances: Sequence[Perturbations], seeds: Sequence[int], size: tuple[int, int]
    ) -> tuple[Tensor, list[list[Epoch]]]:
        """Maps (I, H, W) and what happened by epoch."""


class DAX(Distiller):
    """A mask network and a student network fitted together on the black box's answers to perturbed copies.

    V1 is ``fit=FitSettings(regulariser=Sparsity())``, V2 the default, V3 the default with ``segmenter=SAM()``.

    A segment is removed as a whole, so what the black box answered says nothing about where in it the evidence is: a
    student that reads a few of its pixels fits as well as one that reads them all, and a mask that pays for its area
    keeps those few: see `FitSettings.segment_means`. Arguments are those of `Distiller`.

    Example:
        ``DAX(black_box).attribute(x, target=207)``
    """

    def check(self, size: tuple[int, int]) -> None:
        """See `Distiller.check`; and there must be a mask."""
        if not self.settings.regulariser.uses_mask:
            raise ValueError("DAX needs a regulariser with a mask: Sparsity (V1) or Counterfactual (V2, V3).")
        super().check(size)

    def _fit(
        self, instances: Sequence[Perturbations], seeds: Sequence[int], size: tuple[int, int]
    ) -> tuple[Tensor, list[list[Epoch]]]:
        _, fitted = fit_instances(instances, self.settings, seeds)
        coarse = torch.stack([one.mask for one in fitted])[:, None]
        if flat := int((coarse.flatten(1).amax(1) - coarse.flatten(1).amin(1) < FLAT).sum()):
            warnings.warn(
                f"{flat} of {len(coarse)} masks are nearly the same everywhere, full or empty: such a map says "
                f"nothing. Give more samples than {self.num_samples}, or another price of the mask (`area`, `l1`).",
                stacklevel=5,
            )
        maps = F.interpolate(coarse, size=size, mode="bilinear", align_corners=False)[:, 0]
        if self.settings.segment_means:
            pairs = zip(instances, maps.split(1), strict=True)
            maps = torch.cat([one.segments.expand(one.segments.pool(each), size) for one, each in pairs])
        return maps, [one.epochs for one in fitted]
