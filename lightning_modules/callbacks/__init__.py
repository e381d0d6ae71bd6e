"""Callbacks: scores by protocol, heat maps, failure signs, predictions."""

from lightning_modules.callbacks.health import HealthSigns
from lightning_modules.callbacks.heatmaps import HeatMaps
from lightning_modules.callbacks.predictions import PredictionWriter
from lightning_modules.callbacks.scores import ExplanationScores

__all__ = ["ExplanationScores", "HealthSigns", "HeatMaps", "PredictionWriter"]
