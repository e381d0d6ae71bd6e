"""Metrics as pure functions: tensors and seeds in, tensors out, one formula of a paper each.

What asks a black box takes it as an argument and says how often. Read `perturbation`, `deletion`, `infidelity`, `saco`,
`sensitivity` (by queries); `segmentation`, `regions`, `text`, `correlation` (against what is known); `bootstrap`.
"""

from fex.metrics.functional.bootstrap import Interval, bootstrap_interval, paired_difference
from fex.metrics.functional.correlation import class_correlation
from fex.metrics.functional.deletion import deletion_curve, insertion_curve, region_deletion_curve
from fex.metrics.functional.infidelity import scaled_infidelity
from fex.metrics.functional.perturbation import (
    mean_auc,
    perturbation_curve,
    rank_features,
    removal_masks,
    trapezoid_auc,
)
from fex.metrics.functional.regions import activated_region, f1_score, foreground_iou, salient_region, top_activated
from fex.metrics.functional.saco import group_masks, group_means, salience_coefficient
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
from fex.metrics.functional.sensitivity import largest_relative_change
from fex.metrics.functional.text import (
    agreement_counts,
    mean_macro_f1,
    mean_set_f1,
    rationale_counts,
    share_masks,
    top_masks,
)

__all__ = [
    "top_activated",
    "salient_region",
    "foreground_iou",
    "f1_score",
    "activated_region",
    "region_deletion_curve",
    "insertion_curve",
    "deletion_curve",
    "Interval",
    "agreement_counts",
    "average_precision",
    "bootstrap_interval",
    "class_correlation",
    "confusion",
    "foreground",
    "group_masks",
    "group_means",
    "largest_relative_change",
    "mean_auc",
    "mean_iou",
    "mean_macro_f1",
    "mean_set_f1",
    "normalise_maps",
    "paired_difference",
    "perturbation_curve",
    "pixel_accuracy",
    "pointing_game",
    "rank_features",
    "rationale_counts",
    "removal_masks",
    "salience_coefficient",
    "scaled_infidelity",
    "share_masks",
    "top_masks",
    "trapezoid_auc",
    "two_class_average_precision",
]
