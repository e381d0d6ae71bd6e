"""captum, shap and Quantus, both ways. It needs: pip install 'fex-explain[interop]'."""

import captum.attr
import numpy as np
import quantus
import shap
import torch

import fex
from fex.interop import (
    CaptumAttribution,
    CaptumMethod,
    QuantusProtocol,
    box_network,
    captum_picture,
    from_shap,
    quantus_explain,
    to_shap,
)

box = fex.load_black_box("vit_cifar10")
explainer = fex.load_explainer("fex_vit_cifar10")
pixels = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))  # your photographs, by explainer.open
explanations = explainer.explain(pixels, target="cat")

# captum: its pictures and tools take explainers of fex, and its methods are explainers here.
captum_picture(explanations[0]).savefig("captum.png")
noisy = captum.attr.NoiseTunnel(CaptumAttribution(explainer)).attribute(pixels, nt_samples=2, target=3, stdevs=0.1)
fex.explain(pixels, CaptumMethod(box, "DeepLift"), target="cat").save("deeplift")

# shap: its plots take explanations of fex, and what it has found becomes explanations.
found = to_shap(explanations)
shap.image_plot(found, show=False)
from_shap(found[..., 0], 3, "cat", black_box=box.name, grid=(8, 8)).save("shap")


# Quantus: its metrics take explainers of fex, and are protocols of fex-bench run.
class Sparseness(QuantusProtocol):
    """In the YAML: protocols: [fex, my_package.Sparseness]."""

    metric = "Sparseness"


metric = quantus.Sparseness(disable_warnings=True)
scores = metric(
    model=box_network(box),
    x_batch=pixels.numpy(),
    y_batch=np.array([3, 3]),
    a_batch=None,
    explain_func=quantus_explain(explainer),
    device="cpu",
)
print("sparseness of the maps:", np.round(scores, 3).tolist(), "of", Sparseness.metric)
