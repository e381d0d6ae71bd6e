"""Lightning modules: training loops of explainers and classifiers."""

from lightning_modules.classifier_module import ClassifierModule
from lightning_modules.dax_module import DAXModule
from lightning_modules.distil_module import DistilModule
from lightning_modules.fastshap_module import FastSHAPModule
from lightning_modules.fex_module import FEXModule
from lightning_modules.iassa_module import IASSAModule
from lightning_modules.text_classifier_module import TextClassifierModule

__all__ = [
    "ClassifierModule",
    "DAXModule",
    "DistilModule",
    "FEXModule",
    "FastSHAPModule",
    "IASSAModule",
    "TextClassifierModule",
]
