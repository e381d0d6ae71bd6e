"""FastSHAP's mathematics: Shapley values of features, learned instead of computed anew.

Coalitions are drawn from the Shapley kernel, the black box scores them, and a network's values are fitted to the
scores under efficiency. Read `kernel` (which coalitions, and what they must sum to), then `loss`.
"""

from fex.shapley.kernel import additive_efficiency, centred, coalitions, every_coalition, size_probabilities
from fex.shapley.loss import shapley_loss

__all__ = ["additive_efficiency", "centred", "coalitions", "every_coalition", "shapley_loss", "size_probabilities"]
