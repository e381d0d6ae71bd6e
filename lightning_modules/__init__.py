"""Lightning modules: training loops of explainers and classifiers."""

from lightning_modules.classifier_module import ClassifierModule

__all__ = ["ClassifierModule"]
