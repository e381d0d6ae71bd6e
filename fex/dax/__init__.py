"""DAX: a mask network and a student network fitted to the black box around one input.

`segmenters` cuts the input, `perturbations` asks about copies of it, `neighbourhoods` lays the answers out; `nets`
and `layers` are the networks, `losses` and `objectives` what they are fitted to, `fit` and `settings` how;
`explainer` does it all. `hybrids` are the paper's students explained by RISE and LIME. Read them in this order.
"""

from fex.dax.explainer import DAX, DAXResult, Distiller
from fex.dax.fit import Epoch, fit_instances
from fex.dax.hybrids import StudentLIME, StudentRISE
from fex.dax.objectives import Counterfactual, NoRegulariser, Regulariser, Sparsity
from fex.dax.perturbations import Perturbations
from fex.dax.segmenters import SAM, SLIC, Grid, QuickShift, Segmenter
from fex.dax.settings import FitSettings

__all__ = [
    "DAX",
    "SAM",
    "SLIC",
    "Counterfactual",
    "DAXResult",
    "Distiller",
    "Epoch",
    "FitSettings",
    "Grid",
    "NoRegulariser",
    "Perturbations",
    "QuickShift",
    "Regulariser",
    "Segmenter",
    "Sparsity",
    "StudentLIME",
    "StudentRISE",
    "fit_instances",
]
