"""Table V: the student alone, distilled without a mask, explained by RISE or LIME. Its queries cost nothing."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from fex.baselines.lime import ridge_solution
from fex.black_box.base import BlackBox
from fex.dax.explainer import Distiller
from fex.dax.fit import Epoch, Networks, fit_instances
from fex.dax.neighbourhoods import Neighbourhoods
from fex.dax.objectives import NoRegulariser
from fex.dax.perturbations import Perturbations, draw_kept
from fex.masking.sampling import smooth_cells, smooth_masks
from fex.modality import Removal

__all__ = ["StudentLIME", "StudentRISE"]


class _StudentOnly(Distiller):
    """Distils without a mask, then explains each student."""

    def _fit(
        self, instances: Sequence[Perturbations], seeds: Sequence[int], size: tuple[int, int]
    ) -> tuple[Tensor, list[list[Epoch]]]:
        maps, histories = [], []
        for one, seed in zip(instances, seeds, strict=True):
            nets, fitted = fit_instances([one], replace(self.settings, regulariser=NoRegulariser()), [seed])
            with torch.no_grad():
                maps.append(self._explain(nets, one, size, seed))
            histories.append(fitted[0].epochs)
        return torch.stack(maps), histories

    @abstractmethod
    def _explain(self, nets: Networks, one: Perturbations, size: tuple[int, int], seed: int) -> Tensor:
        """Map (H, W) of one student."""


class StudentRISE(_StudentOnly):
    """DAX-Base1: RISE with smooth masks on the student.

    Args:
        black_box: any black box.
        removal: fill of what is removed; by default the mean colour.
        num_masks: of the student; no query of the black box.
        cells: cells a side of the coarse masks.
        **options: see `Distiller`; the regulariser of `fit` is not used, as there is no mask.

    Raises:
        ValueError: see `Distiller`; no masks, or no cells.
    """

    def __init__(
        self,
        black_box: BlackBox,
        removal: Removal | None = None,
        *,
        num_masks: int = 4000,
        cells: int = 8,
        **options: Any,
    ) -> None:
        super().__init__(black_box, removal, **options)
        if num_masks < 1 or cells < 1:  # told before queries are spent
            raise ValueError(f"Got num_masks={num_masks} and cells={cells}, expected at least 1 of each.")
        self.num_masks, self.cells = num_masks, cells

    def _explain(self, nets: Networks, one: Perturbations, size: tuple[int, int], seed: int) -> Tensor:
        data = Neighbourhoods([one])
        added = one.parts.sum(0)
        generator = torch.Generator().manual_seed(seed)
        cells, shifts = smooth_cells(self.num_masks, generator, cells=self.cells)
        total, kept = added.new_zeros(data.size), added.new_zeros(data.size)
        for coarse, shift in zip(cells.split(256), shifts.split(256), strict=True):
            masks = smooth_masks(coarse, shift, data.size).to(added.device)
            scores = nets.student(nets.student.prepare(masks[:, None] * added))[:, 0]
            total += torch.einsum("k,khw->hw", scores, masks)
            kept += masks.sum(0)
        coarse_map = (total / kept.clamp(min=torch.finfo(kept.dtype).tiny))[None, None]
        return F.interpolate(coarse_map, size=size, mode="bilinear", align_corners=False)[0, 0]


class StudentLIME(_StudentOnly):
    """DAX-Base2: the linear model of `fex.baselines.LIME`, over the segments, of the student.

    Args:
        black_box: any black box.
        removal: fill of what is removed; by default the mean colour.
        num_draws: subsets of segments the student is asked about; no query of the black box.
        **options: see `Distiller`; the regulariser of `fit` is not used, as there is no mask.

    Raises:
        ValueError: see `Distiller`; fewer than 2 subsets.
    """

    def __init__(
        self, black_box: BlackBox, removal: Removal | None = None, *, num_draws: int = 4000, **options: Any
    ) -> None:
        super().__init__(black_box, removal, **options)
        if num_draws < 2:
            raise ValueError(f"Got num_draws={num_draws}, expected at least 2 for a linear model.")
        self.num_draws = num_draws

    def _explain(self, nets: Networks, one: Perturbations, size: tuple[int, int], seed: int) -> Tensor:
        data = Neighbourhoods([one])
        kept = draw_kept(self.num_draws, one.segments.num_features, torch.Generator().manual_seed(seed + 1))
        kept = kept.to(one.parts.device)
        copies = (data.mixed(part[None].to(one.parts.dtype)) for part in kept.split(256))
        scores = [nets.student(nets.student.prepare(each))[:, 0] for each in copies]
        return one.segments.expand((ridge_solution(kept) @ torch.cat(scores).double()).float(), size)
