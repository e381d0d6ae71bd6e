"""IASSA: sliding windows that follow the saliency, guided by a parameter-free spatial attention.

`windows` cuts the input, `schedule` says which windows come next, `backbone` and `attention` which places are alike,
and `explainer` iterates (`iteration`). Read them in this order.
"""

from fex.iassa.attention import SpatialAttention, fuse_levels, spatial_attention
from fex.iassa.backbone import BackboneFeatures
from fex.iassa.explainer import IASSA
from fex.iassa.iteration import Iteration
from fex.iassa.schedule import WindowSchedule, highest_activated, relative_change
from fex.iassa.windows import saliency_sum, window_boxes, window_centres, window_masks

__all__ = [
    "IASSA",
    "BackboneFeatures",
    "Iteration",
    "SpatialAttention",
    "WindowSchedule",
    "fuse_levels",
    "highest_activated",
    "relative_change",
    "saliency_sum",
    "spatial_attention",
    "window_boxes",
    "window_centres",
    "window_masks",
]
