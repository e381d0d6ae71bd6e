"""Lightning modules: training loops of explainers and classifiers."""

from lightning_modules.classifier_module import ClassifierModule
from lightning_modules.dax_module import DAXModule
from lightning_modules.fastshap_module import FastSHAPModule
from lightning_modules.fex_module import FEXModule
from lightning_modules.iassa_module import IASSAModule

__all__ = ["ClassifierModule", "DAXModule", "FEXModule", "FastSHAPModule", "IASSAModule"]
