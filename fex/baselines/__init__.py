"""Baselines: other explainers, answering the same call on the same black box.

Those that only ask (`queried`, then `rise`, `lime`, `kernel_shap`, `occlusion`; `shap_methods` of other libraries) need
no network. Those that look inside (`gradcam`, `captum_methods`, `attention` with `attention_maps`) need one of torch.
`random` looks at nothing. Read `base` first.
"""

from fex.baselines.attention import AttentionRollout, AttLRP
from fex.baselines.captum_methods import GradSHAP, InputXGradient, IntegratedGradients, Saliency, SmoothGrad
from fex.baselines.gradcam import GradCAM, GradCAMPlusPlus
from fex.baselines.guided import GuidedGradCAM
from fex.baselines.kernel_shap import KernelSHAP
from fex.baselines.lime import LIME
from fex.baselines.occlusion import Occlusion, SlidingWindow
from fex.baselines.random import CentreGaussian, Random
from fex.baselines.rise import RISE, SmoothRISE
from fex.baselines.shap_methods import PartitionSHAP, ProxySPEX
from fex.baselines.tokens import TokenGradCAM

__all__ = [
    "LIME",
    "RISE",
    "AttLRP",
    "AttentionRollout",
    "CentreGaussian",
    "GradCAM",
    "GradCAMPlusPlus",
    "GradSHAP",
    "GuidedGradCAM",
    "InputXGradient",
    "IntegratedGradients",
    "KernelSHAP",
    "Occlusion",
    "PartitionSHAP",
    "ProxySPEX",
    "Random",
    "Saliency",
    "SlidingWindow",
    "SmoothGrad",
    "SmoothRISE",
    "TokenGradCAM",
]
