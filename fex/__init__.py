"""Train an explainer of a black-box classifier once; explain any input in one forward pass."""

from fex.types import Batch, Explainer

__all__ = ["Batch", "Explainer"]
