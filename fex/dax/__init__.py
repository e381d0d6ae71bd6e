"""DAX: a mask network and a student network fitted to the black box around one input."""

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
