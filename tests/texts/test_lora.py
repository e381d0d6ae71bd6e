"""LoRA by hand: its scale, what its dropout drops and when, and what it refuses."""

import pytest
import torch
from torch import nn

from fex.images import PatchGrid
from fex.nets import ExplainerNet, TextEncoder, ViTEncoder, rebuild
from fex.texts.lora import StepDropout, add_lora, check_lora, merge_lora
from tests.texts.tiny import small_encoder

pytest.importorskip("peft")


class Block(nn.Module):
    """One linear layer in a numbered block."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.ModuleList([nn.Linear(6, 5)])

    def forward(self, x):
        return self.layers[0](x)


def adapted(**options):
    """The block with an update that is not 0, its weights before, A and B."""
    net = Block()
    weight, bias = (p.detach().clone() for p in net.layers[0].parameters())
    net = add_lora(net, 2, **options)
    a, b = net.layers[0].lora_A["default"].weight, net.layers[0].lora_B["default"].weight
    nn.init.normal_(b)
    return net, weight, bias, a.detach(), b.detach()


@pytest.mark.parametrize(("options", "scale"), [({}, 2.0), ({"alpha": 8}, 4.0), ({"alpha": 1.0, "dropout": 0.5}, 0.5)])
def test_the_update_is_alpha_over_rank_times_b_a_also_once_merged(options, scale):
    net, weight, bias, a, b = adapted(**options)
    x = torch.randn(3, 4, 6)
    expected = x @ (weight + scale * b @ a).T + bias
    assert torch.allclose(net.eval()(x), expected, atol=1e-5)
    assert torch.allclose(merge_lora(net)(x), expected, atol=1e-5)


def test_dropout_drops_the_same_for_all_inputs_and_passes_of_a_step():
    net, weight, bias, a, b = adapted(alpha=2, dropout=0.5)
    drop = net.layers[0].lora_dropout["default"]
    assert not drop.training
    net.train()
    x = torch.rand(3, 4, 6) + 1
    drop.step = 7
    dropped = drop(x)
    kept = dropped != 0
    assert torch.equal(kept, kept[:1].expand_as(kept))
    assert torch.allclose(dropped, 2 * x * kept)
    assert torch.equal(drop(x[1:2]), dropped[1:2])  # another pass, of some of the rows
    assert torch.allclose(net(x), x @ weight.T + bias + dropped @ (b @ a).T, atol=1e-5)
    drop.step = 8
    assert not torch.equal(drop(x), dropped)


def test_dropout_drops_its_share_and_keeps_the_mean():
    drop = StepDropout(0.3, 0).train()
    found = torch.stack([drop(torch.ones(1, 2000))[0] for drop.step in range(50)])
    assert abs(found.eq(0).float().mean() - 0.3) < 4 * (0.21 / found.numel()) ** 0.5
    assert found.max() == pytest.approx(1 / 0.7)
    assert found.mean() == pytest.approx(1, abs=0.02)
    layers = [StepDropout(0.5, layer).train()(torch.ones(1, 50)) for layer in (0, 1)]
    assert not torch.equal(*layers)


ENCODERS = {
    "vit": lambda **lora: ViTEncoder("conv_vit_tiny", model_args={"depth": 1}, **lora),
    "text": lambda **lora: TextEncoder(**(small_encoder().init_args | lora)),
}


@pytest.mark.parametrize("kind", ENCODERS)
def test_an_encoder_drops_in_training_mode_alone(kind):
    encoder = ENCODERS[kind](lora_rank=2, lora_alpha=32, lora_dropout=0.5)
    for name, parameter in encoder.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter)
    inputs = torch.rand(1, 3, 32, 32) if kind == "vit" else torch.tensor([[2, 6, 7, 8, 3]])
    at_rest = encoder(inputs, (8, 8)).tokens
    encoder.train()
    assert not torch.allclose(encoder(inputs, (8, 8)).tokens, at_rest)
    assert {type(part) for part in encoder.modules() if part.training} == {StepDropout}
    encoder.eval()
    assert torch.equal(encoder(inputs, (8, 8)).tokens, at_rest)


@pytest.mark.parametrize("kind", ENCODERS)
def test_a_description_has_the_settings_that_are_not_the_usual_ones(kind):
    assert not {"lora_alpha", "lora_dropout"} & set(ENCODERS[kind](lora_rank=2).init_args)
    encoder = ENCODERS[kind](lora_rank=2, lora_alpha=32, lora_dropout=0.5)
    assert {"lora_alpha": 32, "lora_dropout": 0.5}.items() <= encoder.init_args.items()
    again = type(encoder)(**encoder.init_args)
    assert {part.scaling["default"] for part in again.modules() if hasattr(part, "lora_A")} == {16.0}


WRONG = {
    "alpha of nothing": (1, 0.0, 0.0, "lora_alpha must be a number above 0, got 0.0"),
    "endless alpha": (1, float("inf"), 0.0, "lora_alpha must be a number above 0"),
    "no number": (1, float("nan"), 0.0, "lora_alpha must be a number above 0"),
    "everything dropped": (1, None, 1.0, r"lora_dropout is the share .* in \[0, 1\); got 1.0"),
    "less than nothing dropped": (1, None, -0.1, "lora_dropout is the share"),
    "alpha without a rank": (0, 4.0, 0.0, "change nothing without LoRA: set lora_rank"),
    "dropout without a rank": (0, None, 0.1, "change nothing without LoRA: set lora_rank"),
}


@pytest.mark.parametrize("case", WRONG)
def test_settings_out_of_range_are_refused(case):
    rank, alpha, dropout, message = WRONG[case]
    with pytest.raises(ValueError, match=message):
        check_lora(rank, alpha, dropout)
    with pytest.raises(ValueError, match=message):
        ViTEncoder("conv_vit_tiny", lora_rank=rank, lora_alpha=alpha, lora_dropout=dropout)


def test_a_file_with_settings_out_of_range_is_refused():
    described = ExplainerNet(ENCODERS["vit"](lora_rank=2), hidden=8).init_args
    described["encoder"]["init_args"]["lora_dropout"] = 3
    with pytest.raises(ValueError, match="lora_dropout is the share"):
        rebuild(described, 2, PatchGrid(4, 4))
