"""Baselines: other explainers, answering the same call on the same black box."""

from fex.baselines.captum_methods import GradSHAP, InputXGradient, IntegratedGradients, Saliency
from fex.baselines.gradcam import GradCAM
from fex.baselines.random import CentreGaussian, Random
from fex.baselines.rise import RISE, SmoothRISE

__all__ = [
    "RISE",
    "CentreGaussian",
    "GradCAM",
    "GradSHAP",
    "InputXGradient",
    "IntegratedGradients",
    "Random",
    "Saliency",
    "SmoothRISE",
]
