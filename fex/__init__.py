"""Train an explainer of a black-box classifier once; explain any input in one forward pass."""

from fex.black_box import BlackBox, load_black_box
from fex.types import Batch, Explainer

__all__ = ["Batch", "BlackBox", "Explainer", "load_black_box"]
