"""Losses: pure functions, one concept a file."""

from fex.losses.fastshap import shapley_loss
from fex.losses.kl import (
    kl_black_box_to_explainer,
    kl_explainer_to_black_box,
    label_kl_black_box_to_explainer,
    label_kl_explainer_to_black_box,
)
from fex.losses.ppo import clip_fraction, clipped_surrogate_joint, clipped_surrogate_per_feature
from fex.losses.value import explained_variance, value_loss

__all__ = [
    "clip_fraction",
    "clipped_surrogate_joint",
    "clipped_surrogate_per_feature",
    "explained_variance",
    "kl_black_box_to_explainer",
    "kl_explainer_to_black_box",
    "label_kl_black_box_to_explainer",
    "label_kl_explainer_to_black_box",
    "shapley_loss",
    "value_loss",
]
