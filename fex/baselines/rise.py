"""RISE (Petsiuk et al. 2018): the mean score of the masks that keep a feature. Two settings, by name.

S_i = sum_k f_y(x * m_k) m_ki / sum_k m_ki, that is eq. 6 of their paper with the masks' own mean in place of its
expectation; a feature that no mask keeps gets 0. All instances share the masks, which depend on the seed alone.
"""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from fex.baselines.base import check_images
from fex.baselines.queried import QueryExplainer, masks_at_once, target_classes, weighted_scores
from fex.black_box.base import BlackBox
from fex.class_names import Target
from fex.images.features import PatchGrid
from fex.images.removal import Mean
from fex.masking.masker import Masker
from fex.masking.sampling import hard_masks, smooth_cells, smooth_masks
from fex.modality import Features, Removal

__all__ = ["RISE", "SmoothRISE", "mean_score_of_kept"]


def mean_score_of_kept(
    black_box: BlackBox, masker: Masker, inputs: Tensor, target: Tensor, masks: Iterable[Tensor]
) -> Tensor:
    """Weighted mean of the masked scores, as the masks come.

    Args:
        black_box: spends B queries a mask.
        masker: features and removal.
        inputs: (B, ...).
        target: (B,), int64.
        masks: tensors (M, N), float in [0, 1], together K masks.

    Returns:
        (B, N), float32, in [0, 1].
    """
    total, kept, first = weighted_scores(black_box, masker, inputs, target, ((part, part) for part in masks))
    return torch.where(kept > 0, first + total / kept.clamp(min=torch.finfo(torch.float32).tiny), 0.0)


class RISE(QueryExplainer):
    """RISE as the FEX paper runs it: hard masks of the explained features, patches or tokens.

    Spends `num_masks` queries an instance, and one more where the target is not given.

    Args:
        black_box: any black box.
        features: patches or tokens.
        removal: fill of what a mask removes; by default the mean colour, or the mask token.
        num_masks: K.
        keep_rate: probability of keeping a feature.
        seed: seed of the masks.
    """

    def __init__(
        self,
        black_box: BlackBox,
        features: Features,
        removal: Removal | None = None,
        *,
        num_masks: int = 100,
        keep_rate: float = 0.5,
        seed: int = 0,
    ) -> None:
        super().__init__(black_box, features, removal)
        generator = torch.Generator().manual_seed(seed)
        self.masks = hard_masks(num_masks, features.num_features, generator, keep_rate=keep_rate)

    def attribute_features(self, inputs: Tensor, target: Target | None = None) -> Tensor:
        """Mean probability of the target over the masks that keep each feature: (B, N), in [0, 1].

        0 where there is no feature; of masks of more features than the inputs have, the first ones count.
        """
        classes, valid = target_classes(self.black_box, inputs, target), self.features.valid(inputs)
        own = self.masks[:, : self.features.count(inputs)].to(inputs.device)
        masks = own.split(masks_at_once(self.black_box, inputs))
        scores = mean_score_of_kept(self.black_box, self.masker, inputs, classes, masks)
        return scores if valid is None else scores * valid


class SmoothRISE:
    """RISE in its authors' setting: smooth, randomly shifted masks on the pixels, many of them.

    Spends `num_masks` queries an instance, and one more where the target is not given.

    Args:
        black_box: any black box.
        removal: fill of what a mask removes; by default the mean colour, which is the authors'.
        num_masks: K; the authors take 4000 for VGG16, 8000 for ResNet50.
        cells: cells a side of the coarse masks; the authors' 7 x 7 in the paper, 8 x 8 in their program.
        keep_rate: probability of keeping a cell.
        seed: seed of the masks.
    """

    def __init__(
        self,
        black_box: BlackBox,
        removal: Removal | None = None,
        *,
        num_masks: int = 4000,
        cells: int = 8,
        keep_rate: float = 0.5,
        seed: int = 0,
    ) -> None:
        check_images(self, black_box)
        self.black_box = black_box
        self.removal = removal or Mean()
        generator = torch.Generator().manual_seed(seed)
        self.cells, self.shifts = smooth_cells(num_masks, generator, cells=cells, keep_rate=keep_rate)

    def attribute(self, inputs: Tensor, target: Target | None = None) -> Tensor:
        """Mean probability of the target over the masks, weighted by how far each keeps a pixel: (B, H, W)."""
        size = (inputs.shape[-2], inputs.shape[-1])
        classes = target_classes(self.black_box, inputs, target)
        masker = Masker(PatchGrid(*size), self.removal, self.black_box.mean)  # every pixel is a feature
        scores = mean_score_of_kept(self.black_box, masker, inputs, classes, self._masks(inputs, size))
        return scores.unflatten(1, size)

    def _masks(self, inputs: Tensor, size: tuple[int, int]) -> Iterator[Tensor]:
        step = masks_at_once(self.black_box, inputs)
        for cells, shifts in zip(self.cells.split(step), self.shifts.split(step), strict=True):
            yield smooth_masks(cells.to(inputs.device), shifts.to(inputs.device), size).flatten(1)
