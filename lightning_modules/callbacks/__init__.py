"""Callbacks: scores by protocol, heat maps, failure signs, class correlation, predictions, trust.

Each reads what the module's steps return, and writes to the logger, to files or into the checkpoint.
Read `scores`, `heatmaps`, `health`, `class_correlation`, `predictions`, `trust`.
"""

from lightning_modules.callbacks.class_correlation import ClassCorrelation
from lightning_modules.callbacks.health import HealthSigns
from lightning_modules.callbacks.heatmaps import HeatMaps
from lightning_modules.callbacks.predictions import PredictionWriter
from lightning_modules.callbacks.scores import ExplanationScores
from lightning_modules.callbacks.trust import Trust

__all__ = ["ClassCorrelation", "ExplanationScores", "HealthSigns", "HeatMaps", "PredictionWriter", "Trust"]
