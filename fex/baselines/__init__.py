"""Baselines: other explainers, answering the same call on the same black box."""

from fex.baselines.captum_methods import GradSHAP, InputXGradient, IntegratedGradients, Saliency
from fex.baselines.gradcam import GradCAM
from fex.baselines.occlusion import LeaveOneOut
from fex.baselines.random import CentreGaussian, Random
from fex.baselines.rise import RISE, SmoothRISE
from fex.baselines.tokens import AttentionRollout, TokenGradCAM

__all__ = [
    "RISE",
    "AttentionRollout",
    "CentreGaussian",
    "GradCAM",
    "GradSHAP",
    "InputXGradient",
    "IntegratedGradients",
    "LeaveOneOut",
    "Random",
    "Saliency",
    "SmoothRISE",
    "TokenGradCAM",
]
