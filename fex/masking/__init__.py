"""Masking: inputs under masks, and what the black box says of them, for every modality.

A masker is features and a removal; masked inputs are made and scored no more at a time than the box takes; masks are
drawn with a seed. A mask is 1 where a feature is kept. Read `masker`, `sampling`, `valid`.
"""

from fex.masking.masker import Masker, masked_probabilities, masker_for
from fex.masking.sampling import hard_masks, smooth_cells, smooth_masks
from fex.masking.valid import mean_over, std_over

__all__ = [
    "Masker",
    "hard_masks",
    "masked_probabilities",
    "masker_for",
    "mean_over",
    "smooth_cells",
    "smooth_masks",
    "std_over",
]
