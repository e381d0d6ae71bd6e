"""A tiny untrained explainer whose classes differ, and its checkpoint."""

from pathlib import Path

import torch
from torch import nn

from fex.black_box import TorchBlackBox
from fex.explainers import AmortizedExplainer, explainer_meta
from fex.images import Mean, PatchGrid, Preprocess
from fex.nets import ExplainerNet, ViTEncoder

__all__ = ["CLASSES", "tiny_box", "tiny_explainer", "write_checkpoint"]

CLASSES = ["tabby cat", "great white shark", "crane", '<b>&"x', "drum"]
SIZE = 16


class _Brightness(nn.Module):
    """Logits that depend on the mean colours alone; class 4 is never the first."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        red, green, blue = x.mean((2, 3)).unbind(1)
        return torch.stack([red, green, blue, red - green, torch.full_like(red, -9.0)], 1)


def tiny_box(*, size: int = SIZE, classes: list[str] = CLASSES) -> TorchBlackBox:
    return TorchBlackBox(_Brightness(), class_names=classes, preprocess=Preprocess(size, size), name="toy")


def tiny_explainer(seed: int = 0) -> AmortizedExplainer:
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        encoder = ViTEncoder(
            "conv_vit_tiny", model_args={"img_size": SIZE, "embed_dim": 32, "depth": 1, "num_heads": 2}
        )
        net = ExplainerNet(encoder, hidden=8).build(len(CLASSES), PatchGrid(4, 4))
        for parameter in (net.weight, net.shared.weight):
            parameter.normal_()
    return AmortizedExplainer(net, explainer_meta(net, tiny_box(), Mean()))


def write_checkpoint(path: Path, explainer: AmortizedExplainer | None = None, **changes: object) -> Path:
    """As fex-train writes it; `changes` replace entries of its description."""
    explainer = explainer or tiny_explainer()
    state = {f"explainer.{name}": tensor for name, tensor in explainer.net.state_dict().items()}
    torch.save({"state_dict": state, "fex": {**explainer.meta, **changes}}, path)
    return path
