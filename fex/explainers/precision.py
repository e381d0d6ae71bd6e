"""In which precision a trained explainer's network computes, and whether its maps still order the features alike."""

import logging
from typing import Literal

import torch
from torch import Tensor

from fex.metrics.functional.correlation import class_correlation

__all__ = ["PRECISIONS", "Precision", "chosen_precision", "same_order"]

log = logging.getLogger("fex")

Precision = Literal["auto", "bf16", "fp32"]
PRECISIONS = ("auto", "bf16", "fp32")
LEAST = 0.98  # rank correlation of maps of which one may stand for the other; bf16 gives 0.998 and more


def _bf16_is_fast(device: torch.device) -> bool:
    """Whether the processor multiplies bfloat16 matrices, and does not only imitate it."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")  # those that torch itself asks
    return device.type == "cpu" and any(getattr(torch.cpu, name, bool)() for name in names)


def chosen_precision(asked: str, device: torch.device) -> Literal["bf16", "fp32"]:
    """What "auto" means on a device: bf16 where the processor has instructions for it, else fp32.

    Raises:
        ValueError: none of `PRECISIONS`.
    """
    if asked not in PRECISIONS:
        raise ValueError(f"Got precision {asked!r}, expected one of {', '.join(PRECISIONS)}.")
    if asked != "auto":
        return asked  # type: ignore[return-value]
    return "bf16" if _bf16_is_fast(device) else "fp32"


def same_order(maps: Tensor, exact: Tensor) -> float:
    """Mean rank correlation of maps (B, N) with those in float32; tells where it is below `LEAST`."""
    found = float(class_correlation(maps, exact).nanmean().nan_to_num(1.0))  # constant maps have no order
    if found < LEAST:
        log.warning(
            "In bf16 this explainer orders the features of the first inputs otherwise than in float32 (rank "
            "correlation %.3f): take precision fp32.",
            found,
        )
    return found
