"""The dropout of LoRA in training: it works, and rollout and updates of a step are still one network."""

import pytest
import torch

from fex.nets import ExplainerNet, ViTEncoder
from fex.policy import Retained
from fex.texts.lora import StepDropout
from lightning_modules import FEXModule
from tests.lightning_modules.small import GRID, VIT, Pictures, SmoothBox, fit

pytest.importorskip("peft")


def module(dropout, lr, **options):
    torch.manual_seed(0)
    encoder = ViTEncoder("conv_vit_tiny", model_args=VIT, lora_rank=4, lora_dropout=dropout)
    net = ExplainerNet(encoder, hidden=8)
    made = FEXModule(
        SmoothBox(), GRID, net, reward=Retained(), optimizer=lambda p: torch.optim.SGD(p, lr), inner_epochs=2, **options
    )
    for name, parameter in net.named_parameters():
        if "lora_B" in name or name in ("shared.weight", "weight"):
            torch.nn.init.normal_(parameter, std=0.5)
    return made


@pytest.mark.parametrize("minibatches", [1, 2])
def test_updates_see_the_network_that_drew_the_masks(minibatches):
    trained = module(0.5, 0.0, minibatches=minibatches)
    rows = fit(trained, Pictures(16, batch_size=8))
    assert [row["train/approx_kl"] for row in rows] == pytest.approx([0, 0], abs=1e-5)
    assert not any(part.training for part in trained.explainer.encoder.modules())  # what is asked now drops nothing
    steps = {part.step for part in trained.explainer.modules() if isinstance(part, StepDropout)}
    assert steps == {trained.seed * 1_000_003 + 1}  # of the last batch: each draws anew


def test_dropout_changes_what_is_learnt():
    found = []
    for dropout in (0.0, 0.5):
        trained = module(dropout, 0.05)
        fit(trained, Pictures(16, batch_size=8))
        found.append(trained.explainer.shared.weight.detach())
    assert not torch.allclose(*found, rtol=1e-3)
