"""Lightning modules: training loops of explainers and classifiers, which wire, step and log, and hold no formula.

An explainer's module draws masks, asks the black box and updates its network; what it shares with the others is in
`base`. Read `base`, `fex_module`, `inner_epochs`, `replaying`; then `fastshap_module`, `distil_module`; `instances` for
what is fitted to each input; `classification` for classifiers.
"""

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
