"""The row without training: its maps are the backbone's class evidence, whatever was learnt since."""

import pytest
import torch

from fex.black_box import TorchBlackBox
from fex.explainers import explainer_meta, export_explainer, load_explainer, load_start
from fex.images import Mean, PatchGrid, Preprocess
from fex.nets import ExplainerNet, PyramidEncoder, ViTEncoder
from tests.explainers.tiny import write_checkpoint

GRID, SIDE, NAMES = PatchGrid(2, 2), 64, ["a", "b", "c"]
VIT = {"img_size": SIDE, "patch_size": 8, "embed_dim": 16, "depth": 1, "num_heads": 2, "num_classes": 3}
ENCODERS = {
    "frozen": lambda **o: PyramidEncoder(
        "resnet10t", levels=(2, 3), dim=8, model_args={"num_classes": 3}, class_head=True, frozen=True, **o
    ),
    "adapters": lambda **o: ViTEncoder("conv_vit_tiny", model_args=VIT, class_head=True, lora_rank=2, **o),
    "whole": lambda **o: ViTEncoder("conv_vit_tiny", model_args=VIT, class_head=True, **o),
}


class Explainer:
    """What `write_checkpoint` reads of an explainer."""

    def __init__(self, net):
        box = TorchBlackBox(torch.nn.Identity(), class_names=NAMES, preprocess=Preprocess(SIDE, SIDE))
        self.net, self.meta = net, explainer_meta(net, box, Mean())


def trained(kind, folder):
    """A checkpoint whose every trainable number has changed, and the network's weights and evidence of before."""
    torch.manual_seed(0)
    net = ExplainerNet(ENCODERS[kind](), hidden=8, keep_rate=0.7).build(3, GRID)
    torch.nn.init.normal_(net.encoder.net.get_classifier().weight)
    torch.save({name: value.clone() for name, value in net.encoder.net.state_dict().items()}, folder / "before.pth")
    inputs = torch.rand(2, 3, SIDE, SIDE)
    with torch.no_grad():
        found = net.encoder(inputs, GRID.grid)
        evidence = found.local @ net.encoder.class_weight.T  # (B, N, C)
        levels = found.classes.log_softmax(1)
        for parameter in net.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter))
    path = write_checkpoint(folder / "x.ckpt", Explainer(net), training={"queries": 5, "seconds": 1.0})
    return path, inputs, evidence, levels


@pytest.mark.parametrize("kind", ENCODERS)
def test_its_maps_are_the_gate_times_the_evidence_less_its_mean(kind, tmp_path):
    if kind == "adapters":
        pytest.importorskip("peft")
    path, inputs, evidence, levels = trained(kind, tmp_path)
    weights = str(tmp_path / "before.pth") if kind == "whole" else None
    start, learnt = load_start(path, weights), load_explainer(path)
    for target in range(3):
        logits = start.attribute_features(inputs, target).logit()
        local = evidence[..., target] - evidence[..., target].mean(1, keepdim=True)
        expected = 0.2 * local + levels[:, target, None] + torch.tensor(0.7).logit()
        assert torch.allclose(logits, expected, atol=1e-4)
        assert not torch.allclose(learnt.attribute_features(inputs, target).logit(), expected, atol=0.1)
    assert start.method == "FEX before training"
    assert "training" not in start.meta
    assert not any(parameter.requires_grad for parameter in start.net.parameters())


def test_it_starts_from_an_export_too(tmp_path):
    path, inputs, _, _ = trained("frozen", tmp_path)
    export_explainer(path, tmp_path / "x.safetensors")
    found = [load_start(each).attribute_features(inputs, 1) for each in (path, tmp_path / "x.safetensors")]
    assert torch.allclose(*found, atol=0.01)  # bfloat16


def test_what_a_trained_backbone_was_must_be_said(tmp_path):
    with pytest.raises(ValueError, match="trained as a whole.*set `weights`"):
        load_start(trained("whole", tmp_path)[0])


def test_maps_that_start_flat_are_no_row(tmp_path):
    with pytest.raises(ValueError, match=r"start flat: its encoder keeps no classifier.*Leave this row out"):
        load_start(write_checkpoint(tmp_path / "flat.ckpt"))
