"""IASSA: iterative and adaptive sampling with spatial attention (Vasu and Long 2020)."""

import warnings
from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from fex.black_box.base import BlackBox, resolve_target
from fex.class_names import Target
from fex.iassa.attention import SpatialAttention
from fex.iassa.backbone import BackboneFeatures
from fex.iassa.iteration import Iteration
from fex.iassa.schedule import (
    Sweep,
    WindowSchedule,
    centres_within,
    highest_activated,
    relative_change,
    same_everywhere,
    window_weights,
)
from fex.iassa.windows import Window, Windows, saliency_sum, window_boxes, window_centres, window_masks
from fex.images.features import PatchGrid
from fex.images.removal import Mean
from fex.masking.masker import Masker, masked_probabilities
from fex.metrics.functional.segmentation import normalise_maps
from fex.modality import Removal
from fex.seeding import pixel_seeds

__all__ = ["IASSA"]

BLOCK = 64  # windows turned into masks at a time


class IASSA:
    """Windows slide over the whole image, then over what was found salient, smaller and denser each time.

    Args:
        black_box: any black box.
        features: backbone of the spatial attention; None leaves the attention out (S' = S).
        removal: fill of what is removed; by default the mean colour.
        window: "keep" keeps the window and removes the rest, as the text reads; "remove" removes the window; "both"
            asks both questions about each window (two queries) and takes the mean of the two maps, each scaled to
            [0, 1]: better than either on photographs (docs/instances.md).
        schedule: sides and steps of the windows by iteration; by default `WindowSchedule.of` the inputs' size.
            `WindowSchedule.paper()` has the paper's.
        iterations: most iterations after the first pass over the image.
        beta: weight of the saliency against the attended saliency: S' = beta S + (1 - beta) A S. (Eq. 6 has a slip in
            the sign of the second term.) The paper's is 0.5.
        threshold: what counts as salient, of the map scaled to [0, 1].
        scale: factor of the inner products in the attention; 1 is the paper's.
        tolerance: stop once the relative change of S' falls below it.
        budget: most queries an instance; where an iteration would exceed it, a random part of its windows is asked.
        seed: of that part.

    Raises:
        TypeError: features that are no backbone.
        ValueError: settings out of range.

    Example:
        ``IASSA(black_box, BackboneFeatures("resnet18", pretrained=True)).attribute(x, target=207)``
    """

    def __init__(
        self,
        black_box: BlackBox,
        features: BackboneFeatures | None,
        removal: Removal | None = None,
        *,
        window: Windows = "both",
        schedule: WindowSchedule | None = None,
        iterations: int = 25,
        beta: float = 0.2,
        threshold: float = 0.3,
        scale: float = 1.0,
        tolerance: float = 0.01,
        budget: int | None = None,
        seed: int = 0,
    ) -> None:
        if window not in ("keep", "remove", "both"):
            raise ValueError(f"Got window={window!r}, expected 'keep', 'remove' or 'both'.")
        if not 0 <= beta <= 1 or not 0 <= threshold < 1:
            raise ValueError(f"Got beta={beta} and threshold={threshold}, expected both in [0, 1].")
        if iterations < 0 or not 0 <= tolerance < 1 or (budget is not None and budget < 1):
            raise ValueError(
                f"Got iterations={iterations}, tolerance={tolerance} and budget={budget}, expected iterations of at "
                "least 0, a tolerance in [0, 1), and a budget of at least 1 query (or None)."
            )
        kinds: tuple[Window, ...] = ("keep", "remove") if window == "both" else (window,)
        if budget is not None and budget < len(kinds):
            raise ValueError(f"Got budget={budget}, but {window!r} asks {len(kinds)} queries a window.")
        if features is not None and not callable(features):
            raise TypeError(
                f"IASSA's features are a fex.iassa.BackboneFeatures or None, got a {type(features).__name__}."
            )
        self.black_box, self.removal = black_box, removal or Mean()
        self.attention_features = features
        self.kinds, self.schedule, self.iterations = kinds, schedule, iterations
        self.beta, self.threshold, self.scale, self.tolerance = beta, threshold, scale, tolerance
        self.budget, self.seed = budget, seed

    def attribute(self, inputs: Tensor, target: Target | None = None) -> Tensor:
        """The last map of each instance, (B, H, W), float32, on the inputs' device.

        Args:
            inputs: (B, 3, H, W), float, in [0, 1].
            target: class, one for all or (B,), by index or name; by default the predicted ones, one query each.
        """
        if not len(inputs):
            return inputs.new_zeros(0, *inputs.shape[-2:], dtype=torch.float32)
        return torch.stack([steps[-1].attribution for steps in self.explain_instances(inputs, target)])

    def explain_instances(self, inputs: Tensor, target: Target | None = None) -> list[list[Iteration]]:
        """Every iteration of every instance; see `iterate`.

        Raises:
            ValueError: no instances.
        """
        if not len(inputs):
            raise ValueError("Got no instances to explain.")
        clean = self.black_box(inputs) if target is None else inputs.new_zeros(len(inputs), self.black_box.num_classes)
        classes = resolve_target(target, clean, self.black_box.class_names)
        return [list(self.iterate(x, y)) for x, y in zip(inputs.split(1), classes.split(1), strict=True)]

    @torch.no_grad()
    def iterate(self, inputs: Tensor, target: Target) -> Iterator[Iteration]:
        """The map after each iteration, computed as it is asked for; queries are spent as they are needed.

        Ends at the last iteration, at convergence, when the budget is spent, or when nothing is salient (a class that
        the black box gives probability 0 has the map 0, with a warning).

        Args:
            inputs: one instance, (1, 3, H, W), in [0, 1].
            target: its class.
        """
        if len(inputs) != 1:
            raise ValueError(f"`iterate` takes one instance, (1, 3, H, W); got {tuple(inputs.shape)}.")
        size = (inputs.shape[-2], inputs.shape[-1])
        inputs = inputs.float()
        label = resolve_target(target, inputs.new_zeros(1, self.black_box.num_classes), self.black_box.class_names)
        attend = self._attention(inputs)
        generator = torch.Generator().manual_seed(pixel_seeds(inputs, self.seed)[0])
        schedule = self.schedule or WindowSchedule.of(size)
        unchanged = bool((Masker(PatchGrid(*size), self.removal, self.black_box.mean).fill(inputs) == inputs).all())
        before: Tensor | None = None
        asked: list[Tensor] = []
        answers: list[Tensor] = []
        sweeps: list[Sweep] = []
        for number in range(self.iterations + 1):
            side, stride = schedule.at(number)
            self._check_side(side, size)
            spent = sum(map(len, asked)) * len(self.kinds)
            sweep = self._sweep(size, stride, before, spent, generator)
            if not len(sweep.centres):
                return
            boxes = window_boxes(sweep.centres, side, size)
            answers.append(self._scores(inputs, label, boxes, size))
            asked.append(boxes.to(inputs.device))
            sweeps.append(sweep)
            # Of all windows so far: those of this iteration alone say nothing of where none of them lies.
            scores = torch.cat(answers, 1)
            if unchanged:  # all windows are one question; a box may round it differently in chunks of another size
                scores = scores[:, :1].expand_as(scores)
            _warn_where_flat(scores)
            saliency = self._saliency(torch.cat(asked), scores, window_weights(sweeps), size)
            attribution = attend(saliency)
            change = 1.0 if before is None else relative_change(attribution, before)
            spent += len(boxes) * len(self.kinds)
            yield Iteration(number, attribution, saliency, side, stride, spent, change)
            if change < self.tolerance:
                return
            before = attribution

    def _sweep(
        self, size: tuple[int, int], stride: int, before: Tensor | None, spent: int, generator: torch.Generator
    ) -> Sweep:
        """The windows of one iteration: within what was salient `before`, as many as the budget still pays for."""
        centres, region = window_centres(size, stride), None
        if before is not None:
            region = highest_activated(before, self.threshold)
            centres = centres_within(centres, region)
        there = len(centres)
        left = there if self.budget is None else (self.budget - spent) // len(self.kinds)
        if left < there:
            centres = centres[torch.randperm(there, generator=generator)[:left].sort().values]
        return Sweep(centres, region, len(centres) / max(1, there) / stride**2)

    @staticmethod
    def _check_side(side: int, size: tuple[int, int]) -> None:
        if side >= max(size):
            raise ValueError(
                f"A window of {side} pixels covers all of an input of {size[0]} x {size[1]}: give IASSA a `schedule` "
                "of smaller windows, or none: the usual one is in proportion to the input."
            )

    def _scores(self, inputs: Tensor, label: Tensor, boxes: Tensor, size: tuple[int, int]) -> Tensor:
        """Probability of the target under each window's masks, (kinds, K)."""
        masker = Masker(PatchGrid(*size), self.removal, self.black_box.mean)  # every pixel is a feature
        fill = masker.fill(inputs)

        def ask(part: Tensor, kind: Window) -> Tensor:
            masks = window_masks(part, size, kind).flatten(1)[None]
            return masked_probabilities(self.black_box, masker, inputs, masks, label, fill=fill)[0]

        parts = boxes.to(inputs.device).split(max(BLOCK, self.black_box.chunk))
        return torch.stack([torch.cat([ask(part, kind) for part in parts]) for kind in self.kinds])

    def _saliency(self, boxes: Tensor, scores: Tensor, weights: Tensor, size: tuple[int, int]) -> Tensor:
        """S of windows (K, 4), their scores (kinds, K) and weights (K,): (H, W)."""
        maps = [saliency_sum(boxes, one, size, kind, weights) for kind, one in zip(self.kinds, scores, strict=True)]
        # A mean of equal numbers is that number; the rounding of the sums would be a picture once it is scaled.
        flat = same_everywhere(scores).tolist()
        maps = [
            torch.full_like(own, float(one[0])) if no else own for own, one, no in zip(maps, scores, flat, strict=True)
        ]
        # Kept windows score far lower than what is left of a picture without them: on one scale both count alike.
        return maps[0] if len(maps) == 1 else normalise_maps(torch.stack(maps)).mean(0)

    def _attention(self, inputs: Tensor) -> Callable[[Tensor], Tensor]:
        """What makes S' of each S of one input."""
        if self.attention_features is None:
            return lambda saliency: saliency
        phi = self.attention_features(inputs)[0]
        attention = SpatialAttention(phi.flatten(1).T, scale=self.scale, keep=self.iterations > 0)
        return partial(self._attend, attention=attention, size=(phi.shape[-2], phi.shape[-1]))

    def _attend(self, saliency: Tensor, attention: SpatialAttention, size: tuple[int, int]) -> Tensor:
        """S' = beta S + (1 - beta) A S, the second term at the features' resolution `size` (eq. 6)."""
        # Less its least value: what is the same everywhere stays so to the last bit.
        low = saliency.amin()
        coarse = (saliency - low)[None, None]
        coarse = F.interpolate(coarse, size=size, mode="bilinear", antialias=True, align_corners=False)
        attended = attention(coarse.flatten()).view(1, 1, *size)
        attended = F.interpolate(attended, size=saliency.shape, mode="bilinear", align_corners=False)[0, 0]
        return self.beta * saliency + (1 - self.beta) * (attended + low)


def _warn_where_flat(scores: Tensor) -> None:
    if scores.shape[1] > 1 and bool(same_everywhere(scores).all()):
        warnings.warn(
            "All windows have one score, so there is nothing to explain: the map is the same everywhere. Check the "
            "target class and the removal.",
            stacklevel=3,
        )
