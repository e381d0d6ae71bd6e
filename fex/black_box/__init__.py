"""Black boxes: classifiers that can be queried for probabilities."""

from fex.black_box.base import BlackBox, TorchBlackBox, check_probabilities, resolve_target
from fex.black_box.timm import TimmBlackBox, build_timm

__all__ = ["BlackBox", "TimmBlackBox", "TorchBlackBox", "build_timm", "check_probabilities", "resolve_target"]
